//! The two roles of a node, as its certificate's OU names them.

/// What a node's certificate allows it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Manager,
    Worker,
}

impl Role {
    /// The OU of the subject, which is also the role's DNS name.
    pub const fn ou(self) -> &'static str {
        match self {
            Role::Manager => "swarm-manager",
            Role::Worker => "swarm-worker",
        }
    }

    /// The inverse of [`Role::ou`].
    pub fn from_ou(ou: &str) -> Option<Self> {
        [Role::Manager, Role::Worker].into_iter().find(|role| role.ou() == ou)
    }
}
