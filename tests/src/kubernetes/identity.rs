//! Who a client of the API server is: users with fixed tokens, known from the token file.

/// A user of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// May do everything.
    Administrator,
    /// The management server; may do what the test's roles allow it.
    Pilotage,
}

impl Identity {
    const ALL: [Self; 2] = [Self::Administrator, Self::Pilotage];

    /// The user's name, as roles are bound to it.
    pub fn user(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Pilotage => "pilotage",
        }
    }

    /// The token that the user authenticates with.
    pub fn token(self) -> String {
        format!("token-of-{}", self.user())
    }

    fn group(self) -> &'static str {
        match self {
            Self::Administrator => "system:masters",
            Self::Pilotage => "pilotage",
        }
    }

    /// The token file with every user: a line each of token, name, id and group.
    pub(super) fn token_file() -> String {
        Self::ALL
            .iter()
            .map(|identity| {
                let user = identity.user();
                format!("{},{user},{user},{}\n", identity.token(), identity.group())
            })
            .collect()
    }
}

/// A kubeconfig file with a token.
pub(super) fn kubeconfig(server: &str, authority: &str, token: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster: {{server: \"{server}\", certificate-authority: \"{authority}\"}}
users:
- name: test
  user: {{token: \"{token}\"}}
contexts:
- name: test
  context: {{cluster: test, user: test}}
"
    )
}
