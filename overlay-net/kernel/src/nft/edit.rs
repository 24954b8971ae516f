//! Changes to the rules of a task that stand, in one transaction of netlink: no process is started, and
//! the kernel has as much to do as changed. What is written here is what `nft` writes for the same
//! words, so that it shows them alike.
//!
//! Constants are those of linux/netfilter/nf_tables.h.

use std::io;
use std::net::IpAddr;

use skep_overlay_plan::rules::{
    Edit, IDLE, Lead, SEED, SlotEdit, TABLE, VipEdit, backends, idle_map, vip_chain, vip_counter,
    vips_map,
};
use skep_overlay_plan::vips::Choice;
use skep_types::Family;

use crate::netlink::flatten;
use crate::nfnetlink::{
    self, BUFFER_BYTES, NESTED, SEND_BYTES_MAX, messages, outcome, put_attribute, put_message,
};
use crate::{KernelError, Namespace};

pub const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const BATCH_BEGIN: u16 = libc::NFNL_MSG_BATCH_BEGIN as u16;
const BATCH_END: u16 = libc::NFNL_MSG_BATCH_END as u16;

const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;
const NEW_OBJECT: u16 = 18;
const DELETE_OBJECT: u16 = 20;

// Attributes of chains, rules and lists of elements.
const OF_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;

const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;

const LIST_ITEM: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const GOTO: i32 = -4;

const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;

const COUNTER: u32 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

const META_NFPROTO: u32 = 15;
const EQUAL: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const RANDOM: u32 = 1;
const JENKINS: u32 = 0;
const DNAT: u32 = 1;
/// The first register of 16 bytes; the key of a map begins there.
const REGISTER: u32 = 1;

/// One takes 92 bytes at most, with its headers, and a list's length has 16 bits.
const ELEMENTS_IN_MESSAGE: usize = 600;

/// Carries a change out: all of it, or nothing.
///
/// # Errors
/// The rules that stand are not those that the change begins at; then they have to be written whole.
pub async fn edit(place: &Namespace, edit: Edit) -> Result<(), KernelError> {
    let step = format!("change the rules of {place}");
    let send = move || {
        let (batch, last) = batch(&edit);
        talk(&batch, last)
    };
    flatten(place.run(send).await).map_err(KernelError::io(step))
}

fn talk(batch: &[u8], last: u32) -> io::Result<()> {
    if batch.len() > SEND_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    let socket = nfnetlink::open()?;
    socket.expect_large(batch.len())?;
    socket.send(batch)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    // What failed is told before what comes last, each in its order.
    loop {
        for (header, body) in messages(socket.receive(&mut buffer)?) {
            if i32::from(header.kind) == libc::NLMSG_ERROR {
                outcome(body)?;
                if header.sequence == last {
                    return Ok(());
                }
            }
        }
    }
}

/// The messages of a transaction, each numbered.
struct Batch {
    bytes: Vec<u8>,
    next: u32,
}

impl Batch {
    fn control(&mut self, kind: u16) {
        // The resource is the subsystem, in network order.
        let [high, low] = SUBSYSTEM.to_be_bytes();
        let family = [libc::AF_UNSPEC as u8, 0, high, low];
        put_message(&mut self.bytes, kind, 0, self.next, family, &[]);
        self.next += 1;
    }

    fn put(&mut self, kind: u16, flags: i32, body: &[u8]) {
        // An answer to each is more than is needed, and does no harm.
        let (kind, flags) = (SUBSYSTEM << 8 | kind, flags | libc::NLM_F_ACK);
        let family = [libc::NFPROTO_INET as u8, 0, 0, 0];
        put_message(&mut self.bytes, kind, flags, self.next, family, body);
        self.next += 1;
    }

    fn new_chain(&mut self, name: &str) {
        self.put(NEW_CHAIN, libc::NLM_F_CREATE, &in_table(&[(CHAIN_NAME, name)]));
    }

    fn delete_chain(&mut self, name: &str) {
        self.put(DELETE_CHAIN, 0, &in_table(&[(CHAIN_NAME, name)]));
    }

    fn flush_chain(&mut self, name: &str) {
        self.put(DELETE_RULE, 0, &in_table(&[(RULE_CHAIN, name)]));
    }

    fn new_counter(&mut self, name: &str) {
        let mut body = in_table(&[(OBJECT_NAME, name)]);
        put_attribute(&mut body, OBJECT_TYPE, &number(COUNTER));
        let zero = || 0_u64.to_be_bytes().to_vec();
        body.extend(nested(OBJECT_DATA, &[(COUNTER_BYTES, zero()), (COUNTER_PACKETS, zero())]));
        self.put(NEW_OBJECT, libc::NLM_F_CREATE, &body);
    }

    fn delete_counter(&mut self, name: &str) {
        let mut body = in_table(&[(OBJECT_NAME, name)]);
        put_attribute(&mut body, OBJECT_TYPE, &number(COUNTER));
        self.put(DELETE_OBJECT, 0, &body);
    }

    fn new_rule(&mut self, chain: &str, expressions: &[Vec<u8>]) {
        let mut body = in_table(&[(RULE_CHAIN, chain)]);
        put_attribute(&mut body, RULE_EXPRESSIONS | NESTED, &expressions.concat());
        self.put(NEW_RULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, &body);
    }

    fn elements(&mut self, kind: u16, set: &str, elements: &[Vec<u8>]) {
        let flags = if kind == NEW_ELEMENTS { libc::NLM_F_CREATE } else { 0 };
        for some in elements.chunks(ELEMENTS_IN_MESSAGE) {
            let mut body = in_table(&[(ELEMENTS_SET, set)]);
            put_attribute(&mut body, ELEMENTS | NESTED, &some.concat());
            self.put(kind, flags, &body);
        }
    }
}

/// Attributes that are texts, after that of our table.
fn in_table(texts: &[(u16, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, text) in [(OF_TABLE, TABLE)].iter().chain(texts) {
        put_attribute(&mut body, *kind, &[text.as_bytes(), b"\0"].concat());
    }
    body
}

fn nested(kind: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut inner = Vec::new();
    for (kind, value) in attributes {
        put_attribute(&mut inner, *kind, value);
    }
    let mut outer = Vec::new();
    put_attribute(&mut outer, kind | NESTED, &inner);
    outer
}

/// The transaction, and the number of its last message that is answered.
fn batch(edit: &Edit) -> (Vec<u8>, u32) {
    let mut batch = Batch { bytes: Vec::new(), next: 0 };
    batch.control(BATCH_BEGIN);
    // Fails where other rules stand.
    batch.delete_chain(&edit.from.chain());
    batch.new_chain(&edit.to.chain());
    for family in Family::ALL {
        let vips = || edit.vips.iter().filter(move |it| Family::of(it.vip) == family);
        for it in vips() {
            if it.from.is_none() {
                batch.new_counter(&vip_counter(it.vip));
            }
            choose(&mut batch, it);
        }
        let slots = || edit.slots.iter().filter(move |it| Family::of(it.vip) == family);
        let gone = slots().filter(|it| it.from.is_some()).map(|it| slot(it, None));
        batch.elements(DELETE_ELEMENTS, &backends(family), &gone.collect::<Vec<_>>());
        let new = slots().filter(|it| it.to.is_some()).map(|it| slot(it, it.to));
        batch.elements(NEW_ELEMENTS, &backends(family), &new.collect::<Vec<_>>());

        for (map, in_it) in [(vips_map(family), has_chain as fn(_) -> _), (idle_map(family), idle)]
        {
            let gone = vips().filter(|it| in_it(it.from) && !in_it(it.to));
            let gone: Vec<_> = gone.map(|it| lead(it.vip, None)).collect();
            batch.elements(DELETE_ELEMENTS, &map, &gone);
            let new = vips().filter(|it| !in_it(it.from) && in_it(it.to));
            let chain =
                |it: &VipEdit| if idle(it.to) { IDLE.to_owned() } else { vip_chain(it.vip) };
            let new: Vec<_> = new.map(|it| lead(it.vip, Some(&chain(it)))).collect();
            batch.elements(NEW_ELEMENTS, &map, &new);
        }
        for it in vips().filter(|it| has_chain(it.from) && !has_chain(it.to)) {
            let chain = vip_chain(it.vip);
            batch.flush_chain(&chain);
            batch.delete_chain(&chain);
        }
        for it in vips().filter(|it| it.to.is_none()) {
            batch.delete_counter(&vip_counter(it.vip));
        }
    }
    let last = batch.next - 1;
    batch.control(BATCH_END);
    (batch.bytes, last)
}

fn has_chain(lead: Option<Lead>) -> bool {
    matches!(lead, Some(Lead::Slots(_)))
}

fn idle(lead: Option<Lead>) -> bool {
    lead == Some(Lead::Idle)
}

/// The chain of an address with its two rules.
fn choose(batch: &mut Batch, edit: &VipEdit) {
    let Some(Lead::Slots(choice)) = edit.to else { return };
    let chain = vip_chain(edit.vip);
    match has_chain(edit.from) {
        true => batch.flush_chain(&chain),
        false => batch.new_chain(&chain),
    }
    let name = [vip_counter(edit.vip).as_bytes(), b"\0"].concat();
    batch.new_rule(&chain, &[expression("objref", &[(1, number(COUNTER)), (2, name)])]);
    batch.new_rule(&chain, &expressions(Family::of(edit.vip), choice));
}

fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn value(kind: u16, bytes: Vec<u8>) -> Vec<u8> {
    nested(kind, &[(DATA_VALUE, bytes)])
}

/// From an address and a slot (a number in the machine's order) to a task.
fn slot(edit: &SlotEdit, to: Option<IpAddr>) -> Vec<u8> {
    let mut key = bytes_of(edit.vip);
    key.extend_from_slice(&edit.slot.to_ne_bytes());
    let mut item = value(ELEMENT_KEY, key);
    item.extend(to.map(|to| value(ELEMENT_DATA, bytes_of(to))).unwrap_or_default());
    listed(item)
}

/// From an address to a chain.
fn lead(vip: IpAddr, chain: Option<&str>) -> Vec<u8> {
    let mut item = value(ELEMENT_KEY, bytes_of(vip));
    if let Some(chain) = chain {
        let code = (VERDICT_CODE, GOTO.to_be_bytes().to_vec());
        let name = (VERDICT_CHAIN, [chain.as_bytes(), b"\0"].concat());
        let verdict = nested(DATA_VERDICT, &[code, name]);
        put_attribute(&mut item, ELEMENT_DATA | NESTED, &verdict);
    }
    listed(item)
}

fn listed(item: Vec<u8>) -> Vec<u8> {
    let mut listed = Vec::new();
    put_attribute(&mut listed, LIST_ITEM | NESTED, &item);
    listed
}

fn expression(name: &str, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut item = Vec::new();
    put_attribute(&mut item, EXPRESSION_NAME, &[name.as_bytes(), b"\0"].concat());
    item.extend(nested(EXPRESSION_DATA, attributes));
    listed(item)
}

fn number(value: u32) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// Reads so many bytes of the network header.
fn payload(to: u32, offset: u32, bytes: u32) -> Vec<u8> {
    let attributes =
        [(1, number(to)), (2, number(NETWORK_HEADER)), (3, number(offset)), (4, number(bytes))];
    expression("payload", &attributes)
}

/// `dnat ip to ip daddr . CHOICE map @backends_ip`, or the same of IPv6.
fn expressions(family: Family, choice: Choice) -> Vec<Vec<u8>> {
    // Where the addresses are in the header; the slot follows the address in the key of the map.
    let (protocol, bytes, source, destination, slot, scratch) = match family {
        Family::V4 => (libc::NFPROTO_IPV4, 4, 12, 16, 9, 14),
        Family::V6 => (libc::NFPROTO_IPV6, 16, 8, 24, 2, 17),
    };
    let mut all = vec![
        expression("meta", &[(2, number(META_NFPROTO)), (1, number(REGISTER))]),
        expression("cmp", &[(1, number(REGISTER)), (2, number(EQUAL)), data(3, &[protocol as u8])]),
        payload(REGISTER, destination, bytes),
    ];
    match choice {
        Choice::Random(modulus) => all.push(expression(
            "numgen",
            &[(1, number(slot)), (2, number(modulus)), (3, number(RANDOM)), (4, number(0))],
        )),
        Choice::Hashed(modulus) => {
            all.push(payload(scratch, source, bytes));
            all.push(expression(
                "hash",
                &[
                    (1, number(scratch)),
                    (2, number(slot)),
                    (3, number(bytes)),
                    (4, number(modulus)),
                    (5, number(SEED)),
                    (7, number(JENKINS)),
                ],
            ));
        }
    }
    let set = [backends(family).as_bytes(), b"\0"].concat();
    all.push(expression("lookup", &[(2, number(REGISTER)), (3, number(REGISTER)), (1, set)]));
    all.push(expression(
        "nat",
        &[(1, number(DNAT)), (2, number(protocol as u32)), (3, number(REGISTER))],
    ));
    all
}

/// A value as an attribute of an expression.
fn data(kind: u16, bytes: &[u8]) -> (u16, Vec<u8>) {
    let mut inner = Vec::new();
    put_attribute(&mut inner, DATA_VALUE, bytes);
    (kind | NESTED, inner)
}
