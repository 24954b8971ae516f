//! Bounds, each with its reason.

/// Layers of one image: Docker's bound, below what overlayfs and its page of options take.
pub const LAYERS_MAX: usize = 125;

/// A manifest or an index: Docker's and the distribution specification's bound.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// An image's configuration. Real ones hold some kilobytes; Docker's own bound is that of manifests.
pub(crate) const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Extended headers of one archive entry: names and extended attributes. The kernel takes at most
/// 64 KiB for one attribute.
pub(crate) const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// Components of a path in an archive; each level costs a step per entry.
pub(crate) const PATH_DEPTH_MAX: usize = 255;

/// Links followed on the way to one entry: the kernel's own bound.
pub(crate) const LINK_HOPS_MAX: usize = 40;

/// Files in an archive that is loaded: some for each layer of some hundred images.
pub(crate) const ARCHIVE_FILES_MAX: u64 = 100_000;

/// Layers downloaded at a time for one pull: Docker's default.
pub(crate) const DOWNLOADS_MAX: usize = 3;

/// Attempts at one layer: Docker's default.
pub(crate) const DOWNLOAD_ATTEMPTS: u32 = 5;

/// Layers uploaded at a time for one push: Docker's default.
pub(crate) const UPLOADS_MAX: usize = 5;

/// Layers unpacked at a time in one store: it is bound by disk and one core each.
pub(crate) const UNPACKS_MAX: usize = 2;

/// Layers unpacked at a time in one store while they come: as many as one pull downloads. They have
/// turns of their own, so that a slow registry holds up nobody else.
pub(crate) const FOLLOWS_MAX: usize = DOWNLOADS_MAX;

/// Pieces of a stream on their way to disk; a piece is a read of the network's, some 16 KiB.
pub(crate) const PIECES_IN_FLIGHT: usize = 16;

/// What one archive may become on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one layer. The largest images known have some hundred thousand files.
    pub layer_entries: u64,
    /// Bytes of one layer after decompression.
    pub layer_bytes: u64,
    /// Bytes of one archive or blob as it comes in.
    pub archive_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { layer_entries: 4_000_000, layer_bytes: 128 << 30, archive_bytes: 256 << 30 }
    }
}
