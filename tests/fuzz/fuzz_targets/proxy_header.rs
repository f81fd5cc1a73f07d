//! The PROXY header of a load balancer.
#![cfg_attr(fuzzing, no_main)]

sealgate_fuzz::target!(sealgate_fuzz::proxy::header);
