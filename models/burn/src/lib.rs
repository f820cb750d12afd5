//! Encoders on burn: CPU by default, CUDA behind a feature.
