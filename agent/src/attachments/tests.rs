use skep_types::{Network, NetworkSpec};

use super::*;

fn attachment(id: u128, container: &str, network: u128) -> NodeAttachment {
    NodeAttachment {
        id: AttachmentId::new(id),
        container_id: container.to_owned(),
        network: Network::new(NetworkId::new(network), NetworkSpec::default()),
        addresses: vec![format!("10.0.{network}.{id}/24").parse().unwrap()],
    }
}

fn joined(container: &str, networks: &[u128]) -> Joined {
    let place = |network: &u128| Place {
        network: NetworkId::new(*network),
        names: vec!["web".to_owned()],
        addresses: vec![format!("10.0.{network}.9/24").parse().unwrap()],
        interface: "eth0".to_owned(),
    };
    Joined {
        container: container.to_owned(),
        namespace: "/run/net".into(),
        places: networks.iter().map(place).collect(),
        outside: None,
    }
}

fn strays(all: &Attachments) -> Vec<u128> {
    all.lock().strays().iter().map(|id| id.bits()).collect()
}

#[test]
fn what_no_container_has_is_a_stray_unless_one_is_about_to_have_it() {
    let all = Attachments::default();
    all.join(joined("aa", &[1]));
    all.change(|inner| {
        for it in [attachment(1, "aa", 1), attachment(2, "aa", 2), attachment(3, "bb", 1)] {
            inner.assigned.insert(it.id, it);
        }
    });
    assert_eq!(strays(&all), [2, 3]);
    {
        let _one = all.coming("bb");
        let two = all.coming("bb");
        assert_eq!(strays(&all), [2]);
        drop(two);
        assert_eq!(strays(&all), [2]);
    }
    assert_eq!(strays(&all), [2, 3]);
    all.change(|inner| inner.leaving.insert(AttachmentId::new(2)));
    assert_eq!(strays(&all), [3]);
    all.part("aa");
    assert_eq!(strays(&all), [1, 3]);
}

#[test]
fn what_a_container_has_and_the_managers_do_not_know_is_asked_for_with_its_addresses() {
    let all = Attachments::default();
    all.join(joined("aa", &[1, 2]));
    all.change(|inner| {
        let it = attachment(1, "aa", 1);
        inner.assigned.insert(it.id, it);
    });
    let lost = all.lock().lost();
    let [wish] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!((wish.container.as_str(), wish.names.as_slice()), ("aa", &["web".to_owned()][..]));
    assert_eq!(wish.network, NetworkId::new(2).to_string());
    assert_eq!(wish.addresses, ["10.0.2.9".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_container_is_off_a_network_at_once_and_the_managers_hear_of_it_when_they_can() {
    let all = Arc::new(Attachments::default());
    all.join(joined("aa", &[1]));
    all.change(|inner| {
        let it = attachment(1, "aa", 1);
        inner.assigned.insert(it.id, it);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(all.detach("aa", NetworkId::new(1)));
    assert_eq!(strays(&all), [1], "nobody could be told");
    assert!(all.lock().lost().is_empty());
}

#[test]
fn refusals_are_in_the_words_of_docker() {
    let check = |status: Status, expected: &str| {
        assert_eq!(AttachError::of("front", &status).to_string(), expected);
    };
    check(
        Status::permission_denied("network front not manually attachable"),
        "Could not attach to network front: rpc error: code = PermissionDenied desc = network front \
         not manually attachable",
    );
    check(
        Status::not_found("network front not found"),
        "Could not attach to network front: rpc error: code = NotFound desc = network front not found",
    );
    check(
        Status::cancelled("x"),
        "Could not attach to network front: rpc error: code = Canceled desc = x",
    );
}

#[test]
fn a_container_among_tasks_is_called_by_half_its_id() {
    let id = "0123456789abcdef0123456789abcdef".repeat(2);
    assert_eq!(task_of(&id).bits(), 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
}
