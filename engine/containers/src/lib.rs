//! A node's containers as their users know them: names, configuration as it was given, restarts,
//! health, volumes, events.
//!
//! What it is not: it builds no process (that is `skep-engine`) and no network (`skep-bridge`,
//! `skep-overlay-net`), and it speaks no HTTP.
