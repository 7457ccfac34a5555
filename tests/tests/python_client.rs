//! A gRPC client of another implementation.

use anyhow::Result;
use pilotage_tests::{Backend, GrpcClient};

#[tokio::test]
async fn the_python_client_itself_works() -> Result<()> {
    let backend = Backend::start("one", "v1").await?;
    let mut client = GrpcClient::plain(backend.address(), "echo.demo").await?;
    client.first_call().await?;
    let outcomes = client.calls(10, &[("x-client", "test")]).await?;
    outcomes.none_failed()?;
    assert_eq!((outcomes.server("one"), outcomes.version("v1")), (10, 10));
    assert_eq!(backend.answered(), 11);
    Ok(())
}
