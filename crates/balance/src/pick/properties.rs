//! What every algorithm must keep, whatever the members.
