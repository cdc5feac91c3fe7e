//! gRPC through the real program, between a client and a server of grpcio for Python.

mod calls;
mod failures;
mod health;
mod python;
