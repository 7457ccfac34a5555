//! The client status discovery service: what every client was sent, accepted and rejected, and why.
//!
//! Each stream's own task says what its client has, so that a question locks nothing and sees no half-done change
//! (H70). Secrets are named but never shown (H67).

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt};
use pilotage_protocol::{Holding, ResourceType, Standing};
use pilotage_protos::envoy::admin::UpdateFailureState;
use pilotage_protos::envoy::protobuf::{Any, Timestamp};
use pilotage_protos::envoy::status::client_config::GenericXdsConfig;
use pilotage_protos::envoy::status::client_status_discovery_service_server::ClientStatusDiscoveryService;
use pilotage_protos::envoy::status::{ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::{GroupKey, StreamId, StreamStatus, Streams};

/// How long a stream may take to say what its client has; one that is busy is left out.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct ClientStatus<K> {
    streams: Streams<K>,
}

impl<K: GroupKey> ClientStatus<K> {
    pub(crate) fn new(streams: Streams<K>) -> Self {
        Self { streams }
    }
}

#[tonic::async_trait]
impl<K: GroupKey> ClientStatusDiscoveryService for ClientStatus<K> {
    type StreamClientStatusStream =
        Pin<Box<dyn Stream<Item = Result<ClientStatusResponse, Status>> + Send + 'static>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        let streams = self.streams.clone();
        let answers = request.into_inner().then(move |question| {
            let streams = streams.clone();
            async move { answer(&streams, question?).await }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Status> {
        answer(&self.streams, request.into_inner()).await.map(Response::new)
    }
}

async fn answer<K: GroupKey>(
    streams: &Streams<K>,
    question: ClientStatusRequest,
) -> Result<ClientStatusResponse, Status> {
    let nodes = Nodes::of(&question)?;
    let mut config = Vec::new();
    for status in streams.list() {
        if !nodes.have(&status.node.id) {
            continue;
        }
        let Some(holdings) = holdings(streams, status.id).await else {
            continue;
        };
        let contents = if question.exclude_resource_contents { Contents::Left } else { Contents::Shown };
        let configs = holdings.iter().map(|holding| generic(holding, &status, contents)).collect();
        config.push(ClientConfig {
            node: Some((*status.node).clone()),
            generic_xds_configs: configs,
            client_scope: format!("stream {} ({:?})", status.id, status.dialect),
            ..ClientConfig::default()
        });
    }
    Ok(ClientStatusResponse { config })
}

async fn holdings<K: GroupKey>(streams: &Streams<K>, id: StreamId) -> Option<Vec<Holding>> {
    timeout(PATIENCE, streams.holdings(id)).await.ok()?
}

/// The nodes that a question is about.
enum Nodes {
    All,
    Ids(Vec<String>),
}

impl Nodes {
    /// Matchers are alternatives; only the exact id of a node can be matched.
    fn of(question: &ClientStatusRequest) -> Result<Self, Status> {
        use pilotage_protos::envoy::types::matcher::v3::string_matcher::MatchPattern;

        if question.node_matchers.is_empty() {
            return Ok(Self::All);
        }
        let mut ids = Vec::new();
        for matcher in &question.node_matchers {
            let pattern = matcher.node_id.as_ref().and_then(|id| id.match_pattern.as_ref());
            match pattern {
                Some(MatchPattern::Exact(id)) if matcher.node_metadatas.is_empty() => ids.push(id.clone()),
                _ => {
                    let message = "only node_matchers with an exact node_id are supported";
                    return Err(Status::invalid_argument(message));
                }
            }
        }
        Ok(Self::Ids(ids))
    }

    fn have(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.iter().any(|known| known == id),
        }
    }
}

/// Whether the bodies of resources are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    Shown,
    Left,
}

fn generic<K>(holding: &Holding, status: &StreamStatus<K>, contents: Contents) -> GenericXdsConfig {
    let Holding { resource_type, resource, standing } = holding;
    let of_type = status.types.get(resource_type);
    let is_shown = contents == Contents::Shown && *resource_type != ResourceType::Secret;
    let body = || Any { type_url: resource_type.type_url().to_owned(), value: resource.body().to_vec() };
    let config_status = match standing {
        Standing::Accepted => ConfigStatus::Synced,
        Standing::Sent => ConfigStatus::Stale,
        Standing::Rejected => ConfigStatus::Error,
        Standing::Withheld => ConfigStatus::NotSent,
    };
    let rejection =
        of_type.and_then(|status| status.nacked.as_ref()).filter(|_| *standing == Standing::Rejected);
    GenericXdsConfig {
        type_url: resource_type.type_url().to_owned(),
        name: resource.name().to_string(),
        version_info: resource.version().to_string(),
        xds_config: is_shown.then(body),
        last_updated: of_type.and_then(|status| status.sent).map(|sent| timestamp(sent.at)),
        config_status: config_status.into(),
        error_state: rejection.map(|(mark, words)| UpdateFailureState {
            details: words.clone(),
            version_info: resource.version().to_string(),
            last_update_attempt: Some(timestamp(mark.at)),
            ..UpdateFailureState::default()
        }),
        ..GenericXdsConfig::default()
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    // A clock before 1970 is shown as 1970.
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or_default(),
    }
}
