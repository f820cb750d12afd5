//! The families of models beside BERT, and what they share with it.

pub(crate) mod clip;
pub(crate) mod decoder;
pub(crate) mod head;
pub(crate) mod network;
pub(crate) mod pool;
