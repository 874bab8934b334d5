//! The embedded store of frames, incidents and model state.
