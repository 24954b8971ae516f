//! Rules that were changed bit by bit are those that would have been written whole.

#[path = "lab/hosts.rs"]
mod hosts;
mod lab;

use std::sync::Arc;

use hosts::*;
use lab::*;
use skep_overlay_kernel::{Namespace, nft};
use skep_overlay_plan::vips::Vips;
use skep_overlay_plan::*;
use skep_types::session::Session;
use skep_types::{ServiceId, TaskId};

const OTHER: ServiceId = ServiceId::new(8);

fn task(node: &NodeConfig) -> DesiredTask {
    let mut host = Desired::new(node.clone());
    host.networks.insert(FRONT, front_of_both());
    let networks = vec![skep_types::NetworkAttachment {
        network: FRONT,
        addresses: vec!["10.0.1.3/24".parse().unwrap(), "fd00::3/64".parse().unwrap()],
        aliases: Vec::new(),
    }];
    let net = TaskNet { task: A, networks, ports: Vec::new(), nameservers: Vec::new() };
    host.add_task(net, None).unwrap();
    host.tasks.remove(&A).unwrap()
}

fn front_of_both() -> NetworkState {
    let mut network = front();
    network.gateways.push("fd00::1/64".parse().unwrap());
    network.services.get_mut(&WEB).unwrap().vips.push("fd00::2".parse().unwrap());
    network
}

fn serve(network: &mut NetworkState, number: u128, service: ServiceId) {
    let v4 = std::net::Ipv4Addr::from(0x0a00_0200 + number as u32);
    let v6 = std::net::Ipv6Addr::from((0xfd00_u128 << 112) + 0x200 + number);
    let mut added = endpoint(&v4.to_string(), 2);
    added.service = Some(service);
    added.addresses.push(v6.into());
    network.endpoints.insert(TaskId::new(1_000 + number), added);
}

fn other() -> ServiceEntry {
    let vips = ["10.0.1.9", "fd00::9"].map(|vip| vip.parse().unwrap()).to_vec();
    ServiceEntry { name: "other".into(), vips, ..front().services[&WEB].clone() }
}

type Change = fn(&mut NetworkState);

/// Each changes the network a little further.
fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("one more serves", |it| serve(it, 1, WEB)),
        ("a hundred more serve", |it| (2..102).for_each(|number| serve(it, number, WEB))),
        ("one in the middle goes", |it| drop(it.endpoints.remove(&TaskId::new(1_050)))),
        ("two are not to be given more", |it| {
            for task in [1_003, 1_090] {
                it.endpoints.get_mut(&TaskId::new(task)).unwrap().state = EndpointState::Draining;
            }
        }),
        ("a service comes that nobody serves", |it| drop(it.services.insert(OTHER, other()))),
        ("it is served", |it| serve(it, 200, OTHER)),
        ("clients keep their task", |it| {
            it.services.get_mut(&WEB).unwrap().session = Session::ClientAddress;
        }),
        ("one of those goes", |it| drop(it.endpoints.remove(&TaskId::new(1_002)))),
        ("any task again", |it| it.services.get_mut(&WEB).unwrap().session = Session::Any),
        ("a thousand serve", |it| (300..1_300).for_each(|number| serve(it, number, OTHER))),
        ("nobody serves one", |it| it.endpoints.retain(|_, it| it.service != Some(WEB))),
        ("the other goes", |it| drop(it.services.remove(&OTHER))),
        ("the first comes back", |it| serve(it, 1, WEB)),
        ("no service is left", |it| it.services.clear()),
    ]
}

async fn listed(lab: &Lab, host: u8) -> String {
    lab.on_host(host, "nft -s list table inet skep")
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_changed_bit_by_bit_are_those_written_whole() {
    if !can_run("rules_changed_bit_by_bit_are_those_written_whole") {
        return;
    }
    let lab = Lab::new(2).await;
    let (edited, whole) = (lab.host(1), lab.host(2));
    let node = lab.node(1);
    let (task, mut network) = (task(&node), front_of_both());
    let mut vips = Vips::of(&network, None);
    let rules = |network: &NetworkState, vips: &Arc<Vips>| {
        let networks = [(FRONT, network.clone())].into();
        TaskRules::of(&node, &task, &networks, |_| Arc::clone(vips))
    };
    let mut stands = rules(&network, &vips);
    nft::replace(&edited, &stands.ruleset()).await.unwrap();
    for (what, change) in changes() {
        change(&mut network);
        vips = Vips::of(&network, Some(&vips));
        let wanted = rules(&network, &vips);
        let edit = wanted.edit_from(&stands).unwrap_or_else(|| panic!("{what}: no edit"));
        nft::edit(&edited, edit).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(nft::digest(&edited).await.unwrap(), Some(wanted.digest()), "{what}");
        nft::replace(&whole, &wanted.ruleset()).await.unwrap();
        assert_same(what, &sorted(&listed(&lab, 1).await), &sorted(&listed(&lab, 2).await));
        stands = wanted;
    }
    // Others stand there now: nothing is changed, and it is said.
    serve(&mut network, 1, WEB);
    network.services.insert(OTHER, other());
    let wanted = rules(&network, &Vips::of(&network, Some(&vips)));
    let edit = wanted.edit_from(&stands).unwrap();
    let meant: Namespace = lab.host(1);
    nft::execute(&meant, "delete table inet skep").await.unwrap();
    nft::edit(&meant, edit).await.unwrap_err();
    assert_eq!(lab.on_host(1, "nft list ruleset"), "");
}

/// Chains and elements come in the order of their making.
fn sorted(listed: &str) -> Vec<String> {
    let words = listed.split(['\n', ',', '{', '}']).map(str::trim);
    let words = words.map(|it| it.trim_start_matches("elements = ").to_owned());
    let mut words: Vec<String> = words.filter(|it| !it.is_empty()).collect();
    words.sort();
    words
}

fn assert_same(what: &str, edited: &[String], whole: &[String]) {
    let more: Vec<_> = edited.iter().filter(|it| !whole.contains(it)).take(10).collect();
    let less: Vec<_> = whole.iter().filter(|it| !edited.contains(it)).take(10).collect();
    assert!(edited == whole, "{what}: more {more:?}, less {less:?}");
}
