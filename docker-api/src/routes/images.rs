//! `/images` and `/distribution`. Names of images hold slashes, so what is asked of one is told from the end of the path.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};

use super::query::Pairs;
use super::{Answer, ApiVersion, Held, answer, registry_auth, versions};
use crate::backend::Backend;
use crate::error::{ApiError, Kind};
use crate::json::*;
use crate::stream::from_request;

pub(super) fn images() -> Router<Arc<dyn Backend>> {
    let list = async |State(b): Held,
                      Extension(version): Extension<ApiVersion>,
                      Query(q): Query<Pairs>|
           -> Answer<_> {
        let filters = versions::image_filters(q.filters()?, q.one("filter"), version);
        versions::images(b.images(filters).await?, version)
    };
    let load = async |State(b): Held, Query(q): Query<Pairs>, body: Body| -> Answer<_> {
        one_platform(&q)?;
        let quiet = q.truth_or("quiet", true);
        Ok(answer::progress(b.image_load(quiet, from_request(body)).await?))
    };
    let save = async |State(b): Held, Query(q): Query<Pairs>| -> Answer<_> {
        one_platform(&q)?;
        // Clients with many names send them in one, parted by commas, or repeat the parameter.
        let names = q.all("names").flat_map(|names| names.split(','));
        let names: Vec<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.is_empty() {
            return Err(ApiError::invalid("no image names given"));
        }
        Ok(answer::tar(b.image_save(names).await?))
    };
    let prune = async |State(b): Held, Query(q): Query<Pairs>| -> Answer<_> {
        Ok(Json(b.images_prune(q.filters()?).await?))
    };
    Router::new()
        .route("/images/json", get(list).merge(remove_named("json")))
        .route("/images/create", post(create).merge(remove_named("create")))
        .route("/images/load", post(load).merge(remove_named("load")))
        .route("/images/get", get(save).merge(remove_named("get")))
        .route("/images/prune", post(prune).merge(remove_named("prune")))
        .route("/images/search", get(search).merge(remove_named("search")))
        .route("/images/{*path}", get(read).post(change).delete(remove))
        .route("/distribution/{*path}", get(distribution))
}

/// Pulls where `fromImage` is given, and imports otherwise.
async fn create(
    State(b): Held,
    Query(q): Query<Pairs>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Response> {
    let (image, source) = (q.one("fromImage"), q.one("fromSrc"));
    if !image.is_empty() {
        let request = PullRequest {
            reference: PullRequest::join(image, q.one("tag")),
            platform: q.one("platform").to_owned(),
            auth: registry_auth(&headers)?,
        };
        return Ok(answer::progress(b.image_pull(request).await?));
    }
    match source {
        "-" => {}
        "" => return Err(ApiError::invalid("either fromImage or fromSrc must be given")),
        // DEVIATION: Docker's daemon fetches the URL itself, with its own network and rights, for whoever may call it.
        _ => {
            return Err(ApiError::invalid(
                "importing from a URL is not supported: fetch it and import from standard input",
            ));
        }
    }
    let (repo, tag) = (q.one("repo"), q.one("tag"));
    let request = ImportRequest {
        reference: if repo.is_empty() { String::new() } else { PullRequest::join(repo, tag) },
        message: match q.one("message") {
            "" => format!("Imported from {source}"),
            message => message.to_owned(),
        },
        platform: q.one("platform").to_owned(),
        changes: q.all("changes").map(str::to_owned).collect(),
    };
    Ok(answer::progress(b.image_import(request, from_request(body)).await?))
}

/// The name, and what is asked of it.
fn part(path: &str) -> Answer<(&str, &str)> {
    path.rsplit_once('/').filter(|(name, _)| !name.is_empty()).ok_or_else(ApiError::absent)
}

/// Refuses to look at one platform of an image: to be given another than was asked for would be worse.
fn one_platform(q: &Pairs) -> Answer<()> {
    match ["platform", "platforms"].into_iter().all(|name| q.one(name).is_empty()) {
        true => Ok(()),
        false => Err(ApiError::new(
            Kind::NotImplemented,
            "choosing a platform of an image is not supported: an image here has one",
        )),
    }
}

async fn read(
    State(b): Held,
    Extension(version): Extension<ApiVersion>,
    Path(path): Path<String>,
    Query(q): Query<Pairs>,
    headers: HeaderMap,
) -> Answer<Response> {
    one_platform(&q)?;
    match part(&path)? {
        (name, "json") => versions::image(b.image(name).await?, versions::meant(version, &headers)),
        (name, "get") => Ok(answer::tar(b.image_save(vec![name.to_owned()]).await?)),
        (name, "history") => Ok(Json(b.image_history(name).await?).into_response()),
        _ => Err(ApiError::absent()),
    }
}

async fn change(
    State(b): Held,
    Path(path): Path<String>,
    Query(q): Query<Pairs>,
    headers: HeaderMap,
) -> Answer<Response> {
    match part(&path)? {
        (name, "tag") => {
            let request = TagRequest::new(q.one("repo").to_owned(), q.one("tag").to_owned())?;
            b.image_tag(name, request).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        (name, "push") => {
            let request = PushRequest {
                reference: PullRequest::join(name, q.one("tag")),
                platform: q.one("platform").to_owned(),
                auth: registry_auth(&headers)?,
            };
            Ok(answer::progress(b.image_push(request).await?))
        }
        _ => Err(ApiError::absent()),
    }
}

async fn search(
    State(b): Held,
    Query(q): Query<Pairs>,
    headers: HeaderMap,
) -> Answer<Json<Vec<SearchResult>>> {
    let limit = q.number("limit", "limit")?.unwrap_or(0);
    let auth = registry_auth(&headers)?;
    Ok(Json(b.image_search(q.one("term"), limit, q.filters()?, auth).await?))
}

async fn remove(
    State(b): Held,
    Path(name): Path<String>,
    Query(q): Query<Pairs>,
) -> Answer<Json<Vec<ImageDeleteItem>>> {
    one_platform(&q)?;
    let options = ImageRemoveOptions { force: q.truth("force"), no_prune: q.truth("noprune") };
    Ok(Json(b.image_remove(&name, options).await?))
}

/// Removing an image that is called like another path.
fn remove_named(name: &'static str) -> MethodRouter<Arc<dyn Backend>> {
    delete(async move |state: Held, query: Query<Pairs>| {
        remove(state, Path(name.to_owned()), query).await
    })
}

async fn distribution(
    State(b): Held,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Answer<Json<DistributionInspect>> {
    match part(&path)? {
        (name, "json") => Ok(Json(b.distribution(name, registry_auth(&headers)?).await?)),
        _ => Err(ApiError::absent()),
    }
}
