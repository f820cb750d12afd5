//! Makes and checks images: folders with a whole root for guests.
