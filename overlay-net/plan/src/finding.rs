//! What does not stand as it should, in words: each step that is planned says what is wrong before it.

use skep_types::{NetworkId, TaskId};

use crate::desired::Desired;
use crate::operation::{Operation, Subject};

/// Something in the kernel that is not as the swarm's state says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub subject: Subject,
    /// What is wrong.
    pub what: String,
    pub mend: Mend,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// Nobody has tried yet.
    Open,
    Done,
    /// It could not be mended, for this reason.
    Failed(String),
}

/// What is wrong where these steps are to be taken, several of a kind on one subject as one. Steps that
/// only follow others say nothing.
pub fn findings(desired: &Desired, plan: &[Operation]) -> Vec<Finding> {
    let mut found: Vec<(Subject, &'static str, Vec<String>)> = Vec::new();
    for operation in plan {
        let Some((what, which)) = words(operation) else { continue };
        let subject = operation.subject();
        match found.iter_mut().find(|(of, text, _)| *of == subject && *text == what) {
            Some((_, _, all)) => all.extend(which),
            None => found.push((subject, what, which.into_iter().collect())),
        }
    }
    let finding = |(subject, what, which): (Subject, &str, Vec<String>)| Finding {
        subject,
        what: format!("{}: {what}{}", named(desired, subject), listed(&which)),
        mend: Mend::Open,
    };
    found.into_iter().map(finding).collect()
}

/// How many are named of many of a kind.
const NAMED_MAX: usize = 3;

fn listed(which: &[String]) -> String {
    match which {
        [] => String::new(),
        few if few.len() <= NAMED_MAX => format!(" ({})", few.join(", ")),
        many => format!(" ({} and {} more)", many[..NAMED_MAX].join(", "), many.len() - NAMED_MAX),
    }
}

fn named(desired: &Desired, subject: Subject) -> String {
    match subject {
        Subject::Host => "this host".to_owned(),
        Subject::Network(id) => network(desired, id),
        Subject::Task(id) => task(desired, id),
    }
}

fn network(desired: &Desired, id: NetworkId) -> String {
    let name = desired.networks.get(&id).map(|network| network.name.as_str());
    name.map_or_else(|| format!("network {id}"), |name| format!("network {name}"))
}

fn task(desired: &Desired, id: TaskId) -> String {
    let named = desired.networks.values().filter_map(|network| network.endpoints.get(&id));
    let name = named.flat_map(|endpoint| &endpoint.names).next();
    name.map_or_else(|| format!("task {id}"), |name| format!("task {name}"))
}

fn words(operation: &Operation) -> Option<(&'static str, Option<String>)> {
    use Operation::*;
    let alone = |what| Some((what, None));
    match operation {
        EnableForwarding(_) => alone("packets are not forwarded between interfaces"),
        CreateUserTable => alone("the table for the operator's rules is missing"),
        CreateSandbox { .. } => alone("its bridge or VXLAN device is missing or another"),
        JoinToHost { .. } => alone("published ports have no way from the host to it"),
        SetForwarding { mac, node, .. } => Some((
            "frames for tasks on other nodes have no way or a wrong one",
            Some(format!("{mac} to {node}")),
        )),
        SetNeighbour { address, .. } => {
            Some(("who has an address is not known or told wrongly", Some(address.to_string())))
        }
        CreateTask { .. } | BorrowTask { .. } => alone("its network namespace is missing"),
        Connect { name, .. } => {
            Some(("an interface is missing or not as it is to be", Some(name.clone())))
        }
        ConnectOutside { name, .. } => Some(("its way to the host is missing", Some(name.clone()))),
        RouteReplies { .. } => alone("replies to published ports have no way back"),
        ReplaceHostRules { .. } => alone("the rules for published ports are missing or others"),
        ReplaceTaskRules { .. } | EditTaskRules { .. } => {
            alone("its rules for services and names are missing or others")
        }
        Disconnect { name, .. } => Some(("an interface is too many", Some(name.clone()))),
        RemoveForwarding { mac, .. } => {
            Some(("frames are sent where no task is any more", Some(mac.to_string())))
        }
        RemoveNeighbour { address, .. } => {
            Some(("an address is known that nobody has", Some(address.to_string())))
        }
        RemoveTask { .. } => alone("its network namespace is left over"),
        PartFromHost { .. } => alone("it is joined to the host and should not be"),
        RemoveSandbox { .. } => alone("its namespace is left over"),
        RemoveHostRules => alone("rules are left over"),
        // They follow a change of rules.
        PruneFlows { .. } => None,
    }
}
