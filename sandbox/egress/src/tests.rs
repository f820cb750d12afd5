//! The proxy against attackers and in ordinary use, over its real sockets.

mod attacks;
mod floods;
mod names;
mod pieces;
mod uses;
mod world;
