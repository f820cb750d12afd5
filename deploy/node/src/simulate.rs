//! `headwater simulate`: runs the simulation over seeds and prints what happened.

