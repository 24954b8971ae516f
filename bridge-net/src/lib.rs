//! Networks on one host: bridges, addresses, published ports and names of the containers that are
//! started by hand.
