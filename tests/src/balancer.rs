//! What a Service of several replicas is in a cluster: a connection goes to one that takes it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes each connection on to the first of its targets that takes it. Dropping it ends it.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    /// Each edition of the targets ends the connections of the one before.
    targets: watch::Sender<Arc<[SocketAddr]>>,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Over these replicas, in the order in which they are tried.
    ///
    /// # Errors
    /// No port can be listened on.
    pub async fn over(targets: &[SocketAddr]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (targets, known) = watch::channel(Arc::<[SocketAddr]>::from(targets));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut known = known.clone();
                let targets = known.borrow_and_update().clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = known.changed() => {}
                        () = pass(client, &targets) => {}
                    }
                });
            }
        });
        Ok(Self { address, targets, task })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes these from here on, and ends every connection, so that all clients move.
    pub fn move_to(&self, targets: &[SocketAddr]) {
        self.targets.send_replace(Arc::from(targets));
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, targets: &[SocketAddr]) {
    for target in targets {
        if let Ok(mut server) = TcpStream::connect(target).await {
            // Either side may end as it likes.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
