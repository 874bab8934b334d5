//! Fuzz targets that need nothing but what our packages offer to each other. Included by `tests/it`, which runs the committed
//! corpus through them, and by the fuzz package. Targets of what is private stand beside it, in the packages' `fuzz`.

pub mod lines;
pub mod saved;
pub mod text;
