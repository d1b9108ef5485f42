//! The node autoscaler.
