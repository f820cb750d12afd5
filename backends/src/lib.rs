//! The backends port: what answers a tool's call outside the platform, and a double.
