//! The promises of `inputs.tail`, each with the pitfall that would break it.

mod acknowledgement;
mod alike;
mod binary;
mod config;
mod harness;
mod identity;
mod kinds;
mod leaving;
mod links;
mod load;
mod overwritten;
mod parts;
mod receipts;
mod recorded;
mod restart;
mod rotation;
mod rounds;
mod saved;
mod splitting;
mod steps;
