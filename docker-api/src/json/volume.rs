//! `/volumes`.

use super::Map;
use super::shape::{null_default, omitempty, shape};

shape! {
    /// Bytes, and how many containers use it; -1 where nobody counted.
    VolumeUsage { "RefCount" ref_count: i64, "Size" size: i64 }

    /// Options may hold passwords of network file systems.
    Volume {
        "CreatedAt" created_at: String => "omitempty",
        "Driver" driver: String,
        "Labels" labels: Option<Map>,
        "Mountpoint" mountpoint: String,
        "Name" name: String,
        [redacted] "Options" options: Map,
        "Scope" scope: String,
        "UsageData" usage_data: Option<VolumeUsage> => "omitempty",
    }

    VolumeList { "Volumes" volumes: Vec<Volume>, "Warnings" warnings: Option<Vec<String>> }

    /// No name: one is made up.
    VolumeCreateRequest {
        "Name" name: String => "omitempty",
        "Driver" driver: String => "omitempty",
        [redacted] "DriverOpts" driver_opts: Map => "omitempty",
        "Labels" labels: Map => "omitempty",
    }
}
