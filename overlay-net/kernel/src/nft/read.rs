//! What stands of our rules, asked by netlink: it is looked at often, in every task's namespace.
//!
//! Constants are those of linux/netfilter/nf_tables.h.

use std::collections::BTreeMap;
use std::io;

use skep_overlay_plan::rules::{Count, Digest, TABLE};

use super::edit::SUBSYSTEM;
use crate::netlink::flatten;
use crate::nfnetlink::{
    self, BUFFER_BYTES, FAMILY_HEADER_BYTES, find, messages, outcome, put_message,
};
use crate::{KernelError, Namespace};

const GET_CHAIN: u16 = 4;
const GET_OBJECT: u16 = 19;

// Attributes of chains and objects.
const OF_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const OBJECT_NAME: u16 = 2;
const OBJECT_TYPE: u16 = 3;
const OBJECT_DATA: u16 = 4;

const COUNTER: u32 = 1;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// A list may be told anew where it changed meanwhile.
const TRIES: usize = 10;

/// The digest of the rules that stand.
pub async fn digest(place: &Namespace) -> Result<Option<Digest>, KernelError> {
    let marker = |body: &[u8]| Digest::from_chain(&text(find(body, CHAIN_NAME)?)?);
    Ok(list(place, GET_CHAIN, marker).await?.into_iter().next())
}

/// What our counters have counted, by their names.
pub async fn counters(place: &Namespace) -> Result<BTreeMap<String, Count>, KernelError> {
    let counter = |body: &[u8]| {
        if find(body, OBJECT_TYPE)? != COUNTER.to_be_bytes() {
            return None;
        }
        let data = find(body, OBJECT_DATA)?;
        let number = |kind| Some(u64::from_be_bytes(find(data, kind)?.try_into().ok()?));
        let count = Count { packets: number(COUNTER_PACKETS)?, bytes: number(COUNTER_BYTES)? };
        Some((text(find(body, OBJECT_NAME)?)?, count))
    };
    Ok(list(place, GET_OBJECT, counter).await?.into_iter().collect())
}

/// What is of our table, as far as it says something.
async fn list<T: Send + 'static>(
    place: &Namespace,
    kind: u16,
    read: impl Fn(&[u8]) -> Option<T> + Send + 'static,
) -> Result<Vec<T>, KernelError> {
    let step = format!("read the rules of {place}");
    let ask = move || {
        for _ in 0..TRIES {
            match dump(kind, &read) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                told => return told,
            }
        }
        Err(io::Error::from(io::ErrorKind::Interrupted))
    };
    flatten(place.run(ask).await).map_err(KernelError::io(step))
}

fn dump<T>(kind: u16, read: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let socket = nfnetlink::open()?;
    let mut question = Vec::new();
    let family = [libc::NFPROTO_INET as u8, 0, 0, 0];
    put_message(&mut question, SUBSYSTEM << 8 | kind, libc::NLM_F_DUMP, 0, family, &[]);
    socket.send(&question)?;
    let (mut all, mut buffer) = (Vec::new(), vec![0; BUFFER_BYTES]);
    loop {
        for (header, body) in messages(socket.receive(&mut buffer)?) {
            if header.interrupted {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            match i32::from(header.kind) {
                libc::NLMSG_DONE => return Ok(all),
                libc::NLMSG_ERROR => outcome(body)?,
                _ => {
                    let body = body.get(FAMILY_HEADER_BYTES..).unwrap_or_default();
                    let ours = find(body, OF_TABLE).and_then(text).is_some_and(|it| it == TABLE);
                    all.extend(ours.then(|| read(body)).flatten());
                }
            }
        }
    }
}

/// Without the zero at its end.
fn text(bytes: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(bytes.strip_suffix(b"\0")?).ok()?.to_owned())
}
