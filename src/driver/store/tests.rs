//! With real files and locks; the disk is full as SQLite sees it.

use std::os::unix::fs::PermissionsExt;

use loitsut_profile::wire;
use tempfile::TempDir;

use super::*;
use crate::fleet::{Body, LaunchState, Limits, NewRequest, What};
use crate::model::{PoolName, Time, WorkerName};

fn id<T: TryFrom<String, Error = crate::model::InvalidId>>(text: &str) -> T {
    T::try_from(text.into()).unwrap()
}

fn request(name: &str) -> Request {
    let new = NewRequest {
        id: id(name),
        owner: "master".into(),
        name: id::<WorkerName>("worker"),
        pool: id::<PoolName>("pool"),
        profile: "cpp".into(),
        profile_digest: "digest".into(),
        digest: "content".into(),
        limits: Limits { join: Duration::from_secs(900), life: None, hold: Duration::ZERO },
        body: Body(serde_json::json!({ "secrets": { "password": "hunter2" } })),
    };
    Request::new(new, 1, Time(1))
}

fn launch(name: &str, request: &Request) -> Launch {
    Launch {
        id: id(name),
        request: request.id.clone(),
        owner: request.owner.clone(),
        name: request.name.clone(),
        pool: request.pool.clone(),
        provider: "cloud".into(),
        attempt: 1,
        state: LaunchState::Wanted,
        instance: None,
        failure: None,
        runs: [(1, 7)].into(),
        created: Time(1),
        asked: None,
        heard: None,
        ready: None,
        changed: Time(1),
    }
}

fn told(at: u64, request: &str, launch: Option<&str>, what: What) -> Told {
    Told { at: Time(at), owner: Some("master".into()), request: Some(id(request)), launch: launch.map(id), what }
}

fn note(at: u64, message: &str) -> Told {
    told(at, "r1", None, What::Note { message: message.into() })
}

fn rows(request: &Request, launch: &Launch) -> Changes {
    Changes { requests: vec![request.clone()], launches: vec![launch.clone()], forgotten: Vec::new() }
}

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("driver.db")).unwrap();
    (dir, store)
}

#[test]
fn what_was_saved_is_there_after_a_restart() {
    let (_dir, mut store) = store();
    let request = request("r1");
    let mut launch = launch("l1", &request);
    store.save(&rows(&request, &launch), &[]).unwrap();
    store.keep_token(&launch.id, &[7; 32]).unwrap();
    launch.state = LaunchState::Starting;
    store.save(&Changes { launches: vec![launch.clone()], ..Changes::default() }, &[]).unwrap();
    let path = store.path.clone();
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.load().unwrap(), (vec![request], vec![launch.clone()]));
    assert_eq!(store.token(&launch.id).unwrap(), Some([7; 32]), "a row that is saved again keeps its token");
    assert_eq!(store.token(&id("l2")).unwrap(), None);
}

#[test]
fn secrets_are_for_the_user_of_the_driver_alone() {
    let (dir, mut store) = store();
    let request = request("r1");
    let launch = launch("l1", &request);
    store.save(&rows(&request, &launch), &[]).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[test]
fn a_request_that_is_forgotten_takes_its_launches_with_it() {
    let (_dir, mut store) = store();
    let request = request("r1");
    store.save(&rows(&request, &launch("l1", &request)), &[]).unwrap();
    store.save(&Changes { forgotten: vec![request.id.clone()], ..Changes::default() }, &[]).unwrap();
    assert_eq!(store.load().unwrap(), (Vec::new(), Vec::new()));
}

#[test]
fn a_second_driver_is_refused() {
    let (_dir, store) = store();
    let error = Store::open(&store.path).unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[test]
fn a_database_of_a_later_version_is_refused_and_left_alone() {
    let (_dir, store) = store();
    let path = store.path.clone();
    store.connection.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("format 99") && error.contains("knows 1"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("driver.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE builds (id)").unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)), "{error}");
}

#[test]
fn a_damaged_database_is_told_from_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("driver.db");
    std::fs::write(&path, "not a database, but long enough to be looked at ".repeat(100)).unwrap();
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains("backup"), "{error}");
}

#[test]
fn pages_that_were_overwritten_are_found_at_the_start() {
    let (_dir, mut store) = store();
    for number in 0..200 {
        let request = request(&format!("r{number}"));
        store.save(&rows(&request, &launch(&format!("l{number}"), &request)), &[]).unwrap();
    }
    let path = store.path.clone();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_full_disk_loses_nothing_that_was_saved_and_saving_goes_on_once_there_is_room() {
    let (_dir, mut store) = store();
    let first = request("r1");
    store.save(&rows(&first, &launch("l1", &first)), &[]).unwrap();
    store.connection.pragma_update(None, "max_page_count", 12).unwrap();
    let big = note(1, &"x".repeat(200_000));
    let second = request("r2");
    let changes = rows(&second, &launch("l2", &second));
    let error = store.save(&changes, &[&big]).unwrap_err();
    assert!(matches!(error, StoreError::Full(_)) && error.is_passing(), "{error}");
    assert_eq!(store.load().unwrap().0, std::slice::from_ref(&first), "all or nothing");
    store.connection.pragma_update(None, "max_page_count", 100_000).unwrap();
    store.save(&changes, &[&big]).unwrap();
    assert_eq!(store.load().unwrap().0, [first, second]);
}

#[test]
fn events_are_numbered_and_found_by_what_they_are_about() {
    let (_dir, mut store) = store();
    let first = note(1, "first");
    let second = told(2, "r2", Some("l2"), What::Note { message: "second".into() });
    let numbered = store.save(&Changes::default(), &[&first, &second]).unwrap();
    assert_eq!(numbered, [(1, &first), (2, &second)]);
    let found = |after, filter| -> Vec<u64> {
        store.events(after, &filter, 10).unwrap().iter().map(|event| event.number).collect()
    };
    let by_request = Filter { request: Some(id("r2")), ..Filter::default() };
    assert_eq!(found(0, Filter::default()), [1, 2]);
    assert_eq!(found(1, Filter::default()), [2]);
    assert_eq!(found(0, by_request.clone()), [2]);
    assert_eq!(found(0, Filter { launch: Some(id("l2")), ..Filter::default() }), [2]);
    assert_eq!(found(0, Filter { owner: Some("other".into()), ..Filter::default() }), [0_u64; 0]);
    assert!(by_request.fits(&second) && !by_request.fits(&first));
    assert_eq!(store.events(0, &Filter::default(), 1).unwrap(), [Numbered { number: 1, told: first }]);
}

#[test]
fn old_events_are_dropped_and_their_numbers_not_used_again() {
    let (_dir, mut store) = store();
    for at in 1..=5 {
        store.save(&Changes::default(), &[&note(at, "word")]).unwrap();
    }
    store.prune(Time(3), 1000).unwrap();
    assert_eq!(store.kept().unwrap(), Kept { after: 2, last: 5 });
    store.prune(Time(0), 1).unwrap();
    assert_eq!(store.kept().unwrap(), Kept { after: 4, last: 5 });
    store.prune(Time(9), 1000).unwrap();
    assert_eq!(store.kept().unwrap(), Kept { after: 5, last: 5 });
    assert_eq!(store.save(&Changes::default(), &[&note(9, "word")]).unwrap()[0].0, 6);
}

#[test]
fn a_flood_of_reports_fills_no_disk() {
    let (_dir, mut store) = store();
    let request = request("r1");
    store.save(&rows(&request, &launch("l1", &request)), &[]).unwrap();
    let report = wire::Event { seq: 1, ago: 0, what: wire::What::Ending { why: "x".repeat(1 << 20) } };
    let flood = told(1, "r1", Some("l1"), What::Report { run: 1, report });
    let stored = store.save(&Changes::default(), &[&flood; 20]).unwrap().len();
    assert_eq!(stored, 15, "a little less than 16 MiB");
    let state = told(1, "r1", Some("l1"), What::Note { message: "still told".into() });
    assert_eq!(store.save(&Changes::default(), &[&state]).unwrap().len(), 1);
}
