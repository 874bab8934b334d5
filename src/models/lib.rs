//! Arithmetic only: arrays in, scores out.
