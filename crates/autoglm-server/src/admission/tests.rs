//! Tests of who may begin.

use std::time::Duration;

use super::*;

fn door(running: usize, waiting: usize) -> Admission {
    Admission::new(AdmissionLimits { running, waiting })
}

/// A request that waits in a task of its own and tells its client's name when it may begin.
fn queue(door: &Admission, client: &'static str, began: &Began) -> tokio::task::JoinHandle<()> {
    let (door, began) = (door.clone(), Arc::clone(began));
    tokio::spawn(async move {
        let permit = door.admit(client).await.unwrap();
        began.lock().unwrap().push(client);
        drop(permit);
    })
}

type Began = Arc<Mutex<Vec<&'static str>>>;

async fn until_waiting(door: &Admission, count: usize) {
    while door.occupancy().waiting != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn clients_take_turns_however_many_requests_one_has() {
    let door = door(1, 16);
    let began = Began::default();
    let first = door.admit("busy").await.unwrap();
    let mut tasks = Vec::new();
    for client in ["busy", "busy", "busy", "calm", "late"] {
        tasks.push(queue(&door, client, &began));
        until_waiting(&door, tasks.len()).await;
    }
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        *began.lock().unwrap(),
        ["calm", "late", "busy", "busy", "busy"]
    );
    assert_eq!(door.occupancy(), Occupancy::default());
}

#[tokio::test]
async fn beyond_the_queue_requests_are_refused_at_once_with_a_time() {
    let door = door(1, 1);
    let _working = door.admit("a").await.unwrap();
    let waiting = queue(&door, "b", &Began::default());
    until_waiting(&door, 1).await;
    let Err(error) = door.admit("c").await else {
        panic!("the queue was full");
    };
    assert_eq!(error.status(), 429);
    assert!(error.retry_after() >= Some(Duration::from_secs(1)));
    waiting.abort();
}

#[tokio::test]
async fn who_stops_waiting_gives_the_place_up() {
    let door = door(1, 1);
    let working = door.admit("a").await.unwrap();
    let gone = queue(&door, "b", &Began::default());
    until_waiting(&door, 1).await;
    gone.abort();
    assert!(gone.await.is_err());
    let began = Began::default();
    let next = queue(&door, "c", &began);
    until_waiting(&door, 1).await;
    drop(working);
    next.await.unwrap();
    assert_eq!(*began.lock().unwrap(), ["c"]);
    assert_eq!(door.occupancy(), Occupancy::default());
}

#[tokio::test]
async fn random_arrivals_and_departures_never_exceed_the_limits_nor_lose_a_place() {
    let door = door(3, 8);
    let most = Arc::new(Mutex::new((0_usize, 0_usize)));
    let mut tasks = Vec::new();
    for number in 0..400_u32 {
        let (door, most) = (door.clone(), Arc::clone(&most));
        tasks.push(tokio::spawn(async move {
            let client = format!("client {}", number % 7);
            let Ok(permit) = door.admit(&client).await else {
                return;
            };
            let seen = door.occupancy();
            {
                let mut most = most.lock().unwrap();
                *most = (most.0.max(seen.running), most.1.max(seen.waiting));
            }
            for _ in 0..number % 5 {
                tokio::task::yield_now().await;
            }
            drop(permit);
        }));
        if number % 11 == 0 {
            tasks[number as usize / 2].abort();
        }
        if number % 3 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        // Some were stopped on purpose.
        let _ = task.await;
    }
    let most = *most.lock().unwrap();
    assert!(most.0 <= 3 && most.1 <= 8, "{most:?}");
    assert_eq!(most.0, 3, "the places were not used");
    assert_eq!(door.occupancy(), Occupancy::default());
}
