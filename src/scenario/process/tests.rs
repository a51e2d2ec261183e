//! Real processes on a stage.
