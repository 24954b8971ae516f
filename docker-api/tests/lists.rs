//! Long lists are made while they are sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use http::{Request, header};
use http_body_util::BodyExt;
use skep_docker_api::json::*;
use skep_docker_api::{ApiError, Backend, Filters, List, router};
use tower::ServiceExt;

type Answer<T> = Result<T, ApiError>;

/// Has so many pieces of ten tasks, and counts those that were asked for.
struct Long {
    pieces: usize,
    made: Arc<AtomicUsize>,
}

#[async_trait]
impl Backend for Long {
    async fn version(&self) -> Answer<Version> {
        Ok(Version::default())
    }
    async fn info(&self) -> Answer<Info> {
        Ok(Info::default())
    }
    async fn swarm_status(&self) -> String {
        "active/manager".into()
    }
    async fn nodes(&self, _: Filters) -> Answer<List<Node>> {
        Ok(Vec::new().into())
    }
    async fn tasks(&self, _: Filters) -> Answer<List<Task>> {
        let made = Arc::clone(&self.made);
        Ok(List::of_pieces((0..self.pieces).map(move |piece| {
            made.fetch_add(1, Ordering::SeqCst);
            // A piece of which filters left nothing is no end.
            let tasks = if piece % 3 == 1 { 0 } else { 10 };
            let task = |place| Task { id: format!("{piece}-{place}"), ..Task::default() };
            (0..tasks).map(task).collect()
        })))
    }
}

fn long(pieces: usize) -> (Long, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    (Long { pieces, made: Arc::clone(&made) }, made)
}

async fn get(backend: Long, path: &str) -> axum::response::Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(Arc::new(backend)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    response
}

#[tokio::test]
async fn a_long_list_is_made_as_its_reader_takes_it() {
    const PIECES: usize = 3000;
    let (backend, made) = long(PIECES);
    let mut body = get(backend, "/tasks").await.into_body();
    let mut text = Vec::new();
    for _ in 0..2 {
        let frame = body.frame().await.unwrap().unwrap();
        text.extend_from_slice(&frame.into_data().unwrap());
    }
    let so_far = made.load(Ordering::SeqCst);
    assert!(so_far < PIECES / 10, "{so_far} pieces were made for {} bytes", text.len());
    text.extend_from_slice(&body.collect().await.unwrap().to_bytes());
    let tasks: Vec<Task> = serde_json::from_slice(&text).unwrap();
    assert_eq!(tasks.len(), 10 * PIECES * 2 / 3);
    assert_eq!((tasks[0].id.as_str(), tasks[10].id.as_str()), ("0-0", "2-0"));
    assert_eq!(tasks.last().unwrap().id, format!("{}-9", PIECES - 1));
}

#[tokio::test]
async fn a_reader_that_goes_has_no_more_made() {
    let (backend, made) = long(3000);
    let mut body = get(backend, "/tasks").await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    let left = made.load(Ordering::SeqCst);
    tokio::task::yield_now().await;
    assert_eq!(made.load(Ordering::SeqCst), left);
    assert!(left < 300, "{left} pieces were made");
}

#[tokio::test]
async fn a_short_list_goes_out_whole_with_its_length() {
    for (path, pieces, tasks) in [("/tasks", 3, 20), ("/tasks", 0, 0), ("/nodes", 0, 0)] {
        let body = get(long(pieces).0, path).await.into_body();
        let length = axum::body::HttpBody::size_hint(&body).exact();
        let text = body.collect().await.unwrap().to_bytes();
        assert_eq!(length, Some(text.len() as u64));
        let read: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        assert_eq!(read.len(), tasks);
    }
}
