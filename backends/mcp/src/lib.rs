//! The Model Context Protocol: servers of others as backends, and our tools served to their clients.
