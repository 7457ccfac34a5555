//! What a gRPC server says of itself by server reflection, as a `FileDescriptorSet`.
//!
//! The messages of `grpc.reflection.v1` and of `v1alpha`, which older servers have, are the same; only the name of the
//! service differs. They are written by hand, as far as they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

/// How long connecting, or an answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The services by which servers answer, the newer first.
const VERSIONS: [(&str, &str); 2] = [
    ("v1", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    ("v1alpha", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
];

/// Services that serve no application.
const OF_GRPC: &str = "grpc.";

/// What a server described.
#[derive(Clone, Debug)]
pub struct Described {
    /// The version of the protocol that it answered, `v1` or `v1alpha`.
    pub version: &'static str,
    /// The services, without gRPC's own.
    pub services: Vec<String>,
    /// The serialized `FileDescriptorSet`, in which every file stands after those that it imports.
    pub set: Vec<u8>,
}

/// Why a server could not be asked.
#[derive(Debug, Error)]
pub enum ReflectionError {
    /// The address is none.
    #[error("`{address}` is not an address such as 127.0.0.1:50051")]
    Address {
        /// What was given.
        address: String,
    },
    /// Nothing that speaks HTTP/2 without TLS listens there.
    #[error("cannot connect to {address}; is it a gRPC server without TLS?")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The server has no reflection.
    #[error(
        "the server at {address} has no server reflection; enable it, or write the set with protoc --descriptor_set_out"
    )]
    NoReflection {
        /// Which.
        address: String,
    },
    /// The server answers otherwise than with what it was asked for.
    #[error("the server at {address} does not describe {subject}: {reason}")]
    Refused {
        /// Which server.
        address: String,
        /// What was asked for.
        subject: String,
        /// What it said.
        reason: String,
    },
    /// The server has no services but gRPC's own.
    #[error("the server at {address} has no services of its own")]
    Nothing {
        /// Which.
        address: String,
    },
}

/// Asks the server at `address` (host and port, without TLS) for everything that it serves; `progress` hears of each
/// service with the number of files known by then.
///
/// # Errors
/// It cannot be reached, has no reflection, or does not describe a service that it names.
pub async fn describe(
    address: &str,
    mut progress: impl FnMut(&str, usize),
) -> Result<Described, ReflectionError> {
    let invalid = || ReflectionError::Address { address: address.to_owned() };
    let authority = address.strip_prefix("http://").unwrap_or(address);
    if authority.contains(['/', '@']) || authority.rsplit_once(':').is_none() {
        return Err(invalid());
    }
    let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|_| invalid())?;
    let channel = endpoint.connect_timeout(PATIENCE).connect().await;
    let channel =
        channel.map_err(|source| ReflectionError::Connect { address: address.to_owned(), source })?;
    for (version, path) in VERSIONS {
        let mut conversation = Conversation::open(channel.clone(), address, path).await?;
        let Some(listed) = conversation.services().await? else { continue };
        let services: Vec<String> = listed.into_iter().filter(|name| !name.starts_with(OF_GRPC)).collect();
        if services.is_empty() {
            return Err(ReflectionError::Nothing { address: address.to_owned() });
        }
        let mut files = BTreeMap::new();
        for service in &services {
            conversation.files(Asked::FileContainingSymbol(service.clone()), service, &mut files).await?;
            progress(service, files.len());
        }
        while let Some(missing) = missing(&files) {
            conversation.files(Asked::FileByFilename(missing.clone()), &missing, &mut files).await?;
        }
        return Ok(Described { version, services, set: set(&files) });
    }
    Err(ReflectionError::NoReflection { address: address.to_owned() })
}

/// A file's bytes, and the names of those that it imports.
type Files = BTreeMap<String, (Vec<u8>, Vec<String>)>;

/// An import that is not there yet.
fn missing(files: &Files) -> Option<String> {
    files.values().flat_map(|(_, imports)| imports).find(|import| !files.contains_key(*import)).cloned()
}

/// The files as a set, each after its imports, as readers of a set want them.
fn set(files: &Files) -> Vec<u8> {
    fn add<'a>(name: &'a str, files: &'a Files, added: &mut BTreeSet<&'a str>, set: &mut FileSet) {
        if added.insert(name)
            && let Some((bytes, imports)) = files.get(name)
        {
            for import in imports {
                add(import, files, added, set);
            }
            set.files.push(bytes.clone());
        }
    }
    let mut ordered = FileSet::default();
    let mut added = BTreeSet::new();
    for name in files.keys() {
        add(name, files, &mut added, &mut ordered);
    }
    ordered.encode_to_vec()
}

/// A stream of questions and answers with one server, one at a time.
struct Conversation<'a> {
    address: &'a str,
    questions: mpsc::Sender<Question>,
    /// None where the server has no such service.
    answers: Option<Streaming<Answer>>,
}

impl<'a> Conversation<'a> {
    async fn open(channel: Channel, address: &'a str, path: &'static str) -> Result<Self, ReflectionError> {
        let (questions, receiver) = mpsc::channel(1);
        let mut grpc = Grpc::new(channel);
        let refused = |status: &Status| refused(address, "its services", status.message());
        // A server may wait for the first question before it answers at all.
        let question = Question { asked: Some(Asked::ListServices(String::new())), ..Question::default() };
        let conversation = Self { address, questions, answers: None };
        // The channel has room for one and nobody else sends.
        let _ = conversation.questions.send(question).await;
        grpc.ready().await.map_err(|error| refused(&Status::from_error(error.into())))?;
        let request = tonic::Request::new(ReceiverStream::new(receiver));
        let opened = grpc.streaming(
            request,
            PathAndQuery::from_static(path),
            ProstCodec::<Question, Answer>::default(),
        );
        match tokio::time::timeout(PATIENCE, opened).await {
            Ok(Ok(response)) => Ok(Self { answers: Some(response.into_inner()), ..conversation }),
            Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(conversation),
            Ok(Err(status)) => Err(refused(&status)),
            Err(_) => Err(refused(&Status::deadline_exceeded("it does not answer"))),
        }
    }

    /// The names of the services; none where the server has no such service as this.
    async fn services(&mut self) -> Result<Option<Vec<String>>, ReflectionError> {
        match self.answer().await {
            Ok(Told::Services(listed)) => {
                Ok(Some(listed.services.into_iter().map(|service| service.name).collect()))
            }
            Ok(_) => Err(refused(self.address, "its services", "the answer is of another kind")),
            Err(status) if status.code() == Code::Unimplemented => Ok(None),
            Err(status) => Err(refused(self.address, "its services", status.message())),
        }
    }

    /// Adds the files that answer a question.
    async fn files(&mut self, asked: Asked, subject: &str, files: &mut Files) -> Result<(), ReflectionError> {
        // A server that is gone is noticed by the answer that does not come.
        let _ = self.questions.send(Question { asked: Some(asked), ..Question::default() }).await;
        let told = self.answer().await;
        let told = told.map_err(|status| refused(self.address, subject, status.message()))?;
        let Told::Files(found) = told else {
            return Err(refused(self.address, subject, "the answer is of another kind"));
        };
        let before = files.len();
        let mut known = false;
        for bytes in found.files {
            let file = FileHead::decode(&bytes[..]).map_err(|error| {
                refused(self.address, subject, &format!("a file does not decode: {error}"))
            })?;
            known |= files.contains_key(&file.name);
            files.entry(file.name).or_insert((bytes, file.imports));
        }
        match files.len() > before || known {
            true => Ok(()),
            // Asked again it would say the same, for ever.
            false => Err(refused(self.address, subject, "it gives no file")),
        }
    }

    async fn answer(&mut self) -> Result<Told, Status> {
        let Some(answers) = &mut self.answers else { return Err(Status::unimplemented("")) };
        let answer = tokio::time::timeout(PATIENCE, answers.message()).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("it does not answer"))??;
        match answer.and_then(|answer| answer.told) {
            Some(Told::Refusal(error)) => Err(Status::new(Code::from_i32(error.code), error.message)),
            Some(told) => Ok(told),
            None => Err(Status::unavailable("it ends the stream without an answer")),
        }
    }
}

fn refused(address: &str, subject: &str, reason: &str) -> ReflectionError {
    let (address, subject, reason) = (address.to_owned(), subject.to_owned(), reason.to_owned());
    ReflectionError::Refused { address, subject, reason }
}

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Asked", tags = "3, 4, 7")]
    asked: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Asked {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(oneof = "Told", tags = "4, 6, 7")]
    told: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Told {
    #[prost(message, tag = "4")]
    Files(Found),
    #[prost(message, tag = "6")]
    Services(Listed),
    #[prost(message, tag = "7")]
    Refusal(Refusal),
}

#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Listed {
    #[prost(message, repeated, tag = "1")]
    services: Vec<ListedService>,
}

#[derive(Clone, PartialEq, Message)]
struct ListedService {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Refusal {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// What is read of a `FileDescriptorProto`.
#[derive(Clone, PartialEq, Message)]
struct FileHead {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    imports: Vec<String>,
}

/// A `FileDescriptorSet` of files as they came.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}
