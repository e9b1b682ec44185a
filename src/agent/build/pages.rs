//! Man pages and completions, from the command line as it is parsed.

// The agent has other uses for it.
#[allow(dead_code)]
#[path = "../cli/arguments.rs"]
mod arguments;

use std::error::Error;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::packed;

/// Writes `man/loitsut*.1`, and what each shell reads, packed.
#[allow(clippy::disallowed_methods, reason = "this runs where the agent is built, not where it works")]
pub fn write(folder: &Path) -> Result<(), Box<dyn Error>> {
    for file in ["build/pages.rs", "cli/arguments.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let mut command = arguments::Cli::command();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command, "loitsut", &mut text);
        packed::write(folder, &clap_complete::Generator::file_name(&shell, "loitsut"), &text)?;
    }
    let pages = folder.join("man");
    std::fs::create_dir_all(&pages)?;
    clap_mangen::generate_to(command, &pages)?;
    Ok(())
}
