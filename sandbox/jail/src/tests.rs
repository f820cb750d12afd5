//! Parts that need no kernel's help.
