//! The command line: what it accepts, and the help that teaches it.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXIT_CODES: &str = "\
Exit codes:
  0  fine
  1  the document, or the comparison of two, is not acceptable
  2  the command was used wrongly
  3  the gateway could not start, or ended badly

`demilune help COMMAND` explains each command, with an example.";

/// A secure API gateway, closed until somebody opens it.
///
/// One document says what is served, to whom and under which policies: a file, or a folder of them.
/// Nothing is served that no route names, and no route serves without a stated identity decision.
///
/// Without a command, a demonstration starts.
#[derive(Debug, Parser)]
#[command(name = "demilune", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Demo(DemoArgs),
    Check(CheckArgs),
    Explain(ExplainArgs),
    Diff(DiffArgs),
    /// Print the document's JSON Schema.
    ///
    /// Editors complete and check a document by it: put `# yaml-language-server: $schema=PATH` on
    /// the document's first line.
    #[command(after_long_help = "Example:\n  demilune schema > demilune.schema.json")]
    Schema,
    /// Make API keys.
    ///
    /// Keys are made here, shown once and stored nowhere: the document holds their hashes.
    #[command(after_long_help = KEY_EXAMPLE, arg_required_else_help = true)]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Hash passwords.
    ///
    /// The document holds hashes of passwords, never passwords.
    #[command(after_long_help = PASSWORD_EXAMPLE, arg_required_else_help = true)]
    Password {
        #[command(subcommand)]
        command: PasswordCommand,
    },
    Completions(CompletionsArgs),
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Run the gateway.
///
/// The document is watched: a changed one is put in force at once if it is good, and refused with
/// all its problems in the log if it is not; then the one before stays in force. SIGHUP reloads
/// too; SIGTERM and SIGINT let exchanges under way end.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  demilune run --config /etc/demilune/gateway.yaml")]
pub(crate) struct RunArgs {
    /// The document: a file, or a folder of them.
    #[arg(long, value_name = "PATH")]
    pub(crate) config: PathBuf,
    /// Threads that carry traffic. Default: one a core.
    #[arg(long, value_name = "N", value_parser = parse_workers)]
    pub(crate) workers: Option<usize>,
}

/// Start a demonstration.
///
/// A small API and the gateway before it, on this machine alone, with a key and lines to paste into
/// another terminal. The document it writes can be edited while it runs.
#[derive(Debug, Default, Args)]
#[command(after_long_help = "Example:\n  demilune demo --port 18443")]
pub(crate) struct DemoArgs {
    /// The port of the gateway. Default: 8443, or any other where that one is taken.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
}

/// Check a document.
///
/// Everything is looked at that the gateway would look at before it took the document: the text,
/// the names it uses, the files and secrets it refers to, certificates and keys. All problems are
/// told at once, each with its place. Nothing is opened and nobody is connected to.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  demilune check gateway.yaml
  demilune check gateway.yaml --output json | jq '.diagnostics[].reason'")]
pub(crate) struct CheckArgs {
    /// The document: a file, or a folder of them.
    #[arg(value_name = "PATH", required_unless_present = "config")]
    pub(crate) path: Option<PathBuf>,
    /// The same, as other commands have it.
    #[arg(long, value_name = "PATH", conflicts_with = "path")]
    pub(crate) config: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}

/// Say what would happen to a request, and why.
///
/// The request goes through the same policies, in the same code, as it would in the gateway; but
/// nobody is connected to. Told are the listener, the route and the identity decision, each with
/// its place in the document; every decision on the way; what the client would read, or what the
/// upstream would be sent; and each value in force with the line it comes from.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  demilune explain 'GET https://api.example.com/v1/orders' --config gateway.yaml
  demilune explain 'GET https://api.example.com/v1/orders' --config gateway.yaml \\
    --header \"x-api-key: $KEY\" --from 192.0.2.7
  demilune explain 'POST https://api.example.com/v1/orders' --config gateway.yaml \\
    --as acme --body @order.json")]
pub(crate) struct ExplainArgs {
    /// The request: method and URL.
    #[arg(value_name = "REQUEST")]
    pub(crate) request: String,
    /// The document: a file, or a folder of them.
    #[arg(long, value_name = "PATH")]
    pub(crate) config: PathBuf,
    /// A header of the request; may be given several times. Its value is not printed.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Be this consumer, instead of proving who is calling.
    #[arg(long = "as", value_name = "CONSUMER")]
    pub(crate) consumer: Option<String>,
    /// The address that the client connects from. Default: 127.0.0.1.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<IpAddr>,
    /// The listener to go through. Default: the one that the URL reaches.
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<String>,
    /// The request's body: its text, or `@` and a file.
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(crate) body: Option<String>,
    /// How the result is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}

/// Compare two documents.
///
/// Compared is what they mean, not how they are written. A change that loosens security (a client
/// could do something afterwards that it could not do before) is marked, and makes the exit code 1:
/// a pipeline can stop there until somebody has looked. Files that the documents refer to are not
/// read; `check` does that.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  demilune diff /etc/demilune/gateway.yaml gateway.yaml
  git show main:gateway.yaml > /tmp/before.yaml && demilune diff /tmp/before.yaml gateway.yaml")]
pub(crate) struct DiffArgs {
    /// The document before.
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,
    /// The document after.
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,
    /// How the result is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    New(KeyNewArgs),
}

const PEPPER_SOURCES: [&str; 3] = ["pepper", "pepper_file", "pepper_env"];

const KEY_EXAMPLE: &str = "\
Examples:
  demilune key new --config gateway.yaml --pepper key_pepper
  demilune key new --pepper-file /run/secrets/key-pepper --env test --output json";

/// Make an API key.
///
/// The key is printed once, with the hash to store and the lines to paste into the document. The
/// hash is made under the pepper of the authenticator that will check the key.
#[derive(Debug, Args)]
#[command(after_long_help = KEY_EXAMPLE)]
#[command(group = ArgGroup::new("where").required(true).args(PEPPER_SOURCES))]
pub(crate) struct KeyNewArgs {
    /// The document that declares the pepper.
    #[arg(long, value_name = "PATH", requires = "pepper")]
    pub(crate) config: Option<PathBuf>,
    /// The name under which the document declares the pepper.
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(crate) pepper: Option<String>,
    /// The file that holds the pepper.
    #[arg(long, value_name = "PATH")]
    pub(crate) pepper_file: Option<PathBuf>,
    /// The environment variable that holds the pepper.
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) pepper_env: Option<String>,
    /// The environment that the key is for, which stands in it: 1 to 16 of a-z and 0-9.
    #[arg(long, value_name = "WORD", default_value = "live")]
    pub(crate) env: String,
    /// How the result is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PasswordCommand {
    Hash(PasswordHashArgs),
}

const PASSWORD_EXAMPLE: &str = "\
Example:
  pass show partners/acme | demilune password hash";

/// Hash a password.
///
/// The password is read from standard input, since what stands on a command line can be read by
/// every user of the machine. It must have 12 characters or more, and be none that attackers try
/// first.
#[derive(Debug, Args)]
#[command(after_long_help = PASSWORD_EXAMPLE)]
pub(crate) struct PasswordHashArgs {
    /// How the result is printed.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
}

/// Print a script by which a shell completes this command line.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  demilune completions bash > ~/.local/share/bash-completion/completions/demilune
  demilune completions fish > ~/.config/fish/completions/demilune.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// The most workers: far more than any machine has cores.
const WORKERS_LIMIT: usize = 1_024;

fn parse_workers(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=WORKERS_LIMIT).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {WORKERS_LIMIT}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_more_than_its_name_and_gives_an_example() {
        fn visit(command: &clap::Command) {
            for command in command.get_subcommands() {
                let help = command.clone().render_long_help().to_string();
                assert!(help.contains("Example"), "{help}");
                assert!(command.get_about().is_some(), "{}", command.get_name());
                visit(command);
            }
        }
        visit(&Cli::command());
    }
}
