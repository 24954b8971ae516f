//! Writes images as an archive that is both what `docker save` writes and an OCI image layout.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tar::{EntryType, Header};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::digest::Digest;
use crate::error::{Context, Error, Result};
use crate::index::{Index, Record};
use crate::manifest::{Descriptor, ImageIndex, OCI_INDEX, OCI_MANIFEST};
use crate::reference::Reference;
use crate::store::{Inner, Store};

const BLOCK: u64 = 512;

/// What is to be written.
struct Selection {
    images: Vec<(Digest, Record, Vec<Reference>)>,
    /// Small files, by name.
    documents: Vec<(&'static str, Vec<u8>)>,
}

impl Store {
    /// Writes images (references or ids) with all their layers. A name without a tag means all
    /// tags of its repository; an id brings no name along.
    pub async fn save(&self, names: &[String], mut out: impl AsyncWrite + Unpin) -> Result<()> {
        let names = names.to_vec();
        let pins = self.pins();
        let (selection, pins) = self
            .blocking(move |inner| {
                let mut state = inner.state();
                let selection = inner.select(&state.index, &names)?;
                for (id, record, _) in &selection.images {
                    record.blobs(*id).into_iter().for_each(|blob| pins.hold_in(&mut state, blob));
                }
                drop(state);
                Ok((selection, pins))
            })
            .await?;
        let mut written = BTreeSet::new();
        for (id, record, _) in &selection.images {
            let layers = record.layers.iter().map(|layer| layer.blob);
            for blob in layers.chain([*id, record.manifest]) {
                if written.insert(blob) {
                    self.write_blob(blob, &mut out).await?;
                }
            }
        }
        for (name, bytes) in &selection.documents {
            write_header(name, bytes.len() as u64, &mut out).await?;
            out.write_all(bytes).await.context(|| format!("write {name}"))?;
            pad(bytes.len() as u64, &mut out).await?;
        }
        out.write_all(&[0; 2 * BLOCK as usize]).await.context(|| "end the archive".to_owned())?;
        out.flush().await.context(|| "end the archive".to_owned())?;
        drop(pins);
        Ok(())
    }

    async fn write_blob(&self, blob: Digest, out: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        let path = self.inner.blob_path(blob);
        let context = || format!("write blob {blob}");
        let mut file = tokio::fs::File::open(&path).await.context(context)?;
        let bytes = file.metadata().await.context(context)?.len();
        write_header(&place(blob), bytes, out).await?;
        let copied = tokio::io::copy(&mut file, out).await.context(context)?;
        if copied != bytes {
            return Err(Error::Damaged(format!("{} changed while it was read", path.display())));
        }
        pad(bytes, out).await
    }
}

impl Inner {
    fn select(&self, index: &Index, names: &[String]) -> Result<Selection> {
        let mut chosen: BTreeMap<Digest, BTreeSet<Reference>> = BTreeMap::new();
        for name in names {
            let repository = name
                .parse::<Reference>()
                .ok()
                .filter(|reference| reference.tag().is_none() && reference.digest().is_none());
            let tags: Vec<(&Reference, &Digest)> = match &repository {
                Some(repository) => index
                    .references
                    .iter()
                    .filter(|(tag, _)| tag.tag().is_some() && tag.name() == repository.name())
                    .collect(),
                None => Vec::new(),
            };
            for (tag, id) in &tags {
                chosen.entry(**id).or_default().insert((*tag).clone());
            }
            if tags.is_empty() {
                let id = self.find(index, name)?;
                let named = name.parse::<Reference>().ok().and_then(|name| name.tagged());
                let known = named.filter(|name| index.references.get(name) == Some(&id));
                chosen.entry(id).or_default().extend(known);
            }
        }
        let images: Vec<(Digest, Record, Vec<Reference>)> = chosen
            .into_iter()
            .map(|(id, names)| (id, index.images[&id].clone(), names.into_iter().collect()))
            .collect();
        let documents = vec![
            ("index.json", self.layout_index(&images)?),
            ("manifest.json", docker_list(&images)),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ];
        Ok(Selection { images, documents })
    }

    fn layout_index(&self, images: &[(Digest, Record, Vec<Reference>)]) -> Result<Vec<u8>> {
        let mut manifests = Vec::new();
        for (_, record, names) in images {
            let bytes = self.small_blob(record.manifest)?;
            let media_type = serde_json::from_slice::<Value>(&bytes)
                .ok()
                .and_then(|manifest| Some(manifest.get("mediaType")?.as_str()?.to_owned()))
                .unwrap_or_else(|| OCI_MANIFEST.to_owned());
            let plain = Descriptor::new(&media_type, record.manifest, bytes.len() as u64);
            let mut named: Vec<Descriptor> = Vec::new();
            for name in names {
                let mut entry = plain.clone();
                entry.annotations.insert("io.containerd.image.name".into(), json!(name));
                let tag = json!(name.tag());
                entry.annotations.insert("org.opencontainers.image.ref.name".into(), tag);
                named.push(entry);
            }
            if named.is_empty() {
                named.push(plain);
            }
            manifests.extend(named);
        }
        let index = ImageIndex { schema_version: 2, media_type: OCI_INDEX.to_owned(), manifests };
        Ok(serde_json::to_vec(&index).expect("an index is plain data"))
    }
}

fn docker_list(images: &[(Digest, Record, Vec<Reference>)]) -> Vec<u8> {
    let items = images.iter().map(|(id, record, names)| {
        let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
        json!({
            "Config": place(*id),
            "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
            "Layers": record.layers.iter().map(|layer| place(layer.blob)).collect::<Vec<_>>(),
        })
    });
    Value::Array(items.collect()).to_string().into_bytes()
}

fn place(blob: Digest) -> String {
    format!("blobs/sha256/{}", blob.hex())
}

async fn write_header(name: &str, bytes: u64, out: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_path(name).context(|| format!("write {name}"))?;
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    // The same images give the same archive.
    header.set_mtime(0);
    header.set_cksum();
    out.write_all(header.as_bytes()).await.context(|| format!("write {name}"))
}

async fn pad(bytes: u64, out: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    let padding = (BLOCK - bytes % BLOCK) % BLOCK;
    out.write_all(&[0; BLOCK as usize][..padding as usize])
        .await
        .context(|| "write the archive".to_owned())
}
