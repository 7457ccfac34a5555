//! Reads a folder, prints what is wrong with it and what it holds, and then each change as it comes.
//!
//! `cargo run -p pilotage-watcher --example folder -- manifests`

use std::env;
use std::error::Error;
use std::future::pending;
use std::time::Instant;

use pilotage_watcher::directory::{DirectorySource, Options};
use pilotage_watcher::{Batch, Change};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: folder PATH")?;
    let start = Instant::now();
    let source = DirectorySource::open(Options::new(path))?;
    println!("read in {:?}: {:?}", start.elapsed(), source.stats());
    let (sender, mut batches) = mpsc::channel(1);
    tokio::spawn(source.run(sender, pending()));
    while let Some(Batch { seen, changes }) = batches.recv().await {
        println!("{} changes, {:?} after the first event", changes.len(), seen.elapsed());
        for change in changes.into_iter().take(20) {
            match change {
                Change::Apply(object) => println!("  {} is there", object.key()),
                Change::Delete(key) => println!("  {key} is gone"),
                Change::Problems { problems, .. } => {
                    for problem in problems {
                        println!("  {problem}");
                    }
                }
                Change::Synced(name) => println!("  {name} has said all that it knew"),
            }
        }
    }
    Ok(())
}
