//! `report`: writes the pages that are made of figures, from the JSON in the tree.

#[cfg(target_os = "linux")]
mod tool {
    use std::path::PathBuf;
    use std::process::ExitCode;

    use clap::Parser;
    use hotcall_benches::machine::Machine;
    use hotcall_benches::report::{Report, ReportError, root};

    /// Writes docs/BENCHMARKS.md, docs/plots/PROCESSOR/*.svg and the part of README.md between its marks, from
    /// docs/figures/PROCESSOR/*.json.
    #[derive(Debug, Parser)]
    #[command(name = "report")]
    struct Arguments {
        /// Write nothing: say which files are not what the JSON gives, and exit with 1 if there are any.
        #[arg(long)]
        check: bool,
        /// Write nothing: say which folder of docs/figures is for the processor at hand.
        #[arg(long)]
        processor: bool,
        /// The repository.
        #[arg(long, value_name = "DIR", default_value_os_t = root().to_owned(), hide_default_value = true)]
        root: PathBuf,
    }

    /// The program.
    pub fn main() -> ExitCode {
        match run(&Arguments::parse()) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("report: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn run(arguments: &Arguments) -> Result<ExitCode, ReportError> {
        if arguments.processor {
            println!("{}", Machine::detect().folder());
            return Ok(ExitCode::SUCCESS);
        }
        let report = Report::of(&arguments.root)?;
        for line in &report.skipped {
            println!("skipped {line}");
        }
        if arguments.check {
            let differing = report.differing(&arguments.root)?;
            for file in &differing {
                println!("{} is not what the JSON gives", file.display());
            }
            return Ok(if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        report.write(&arguments.root)?;
        for (file, _) in &report.files {
            println!("wrote {}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    tool::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("report: the tools run on Linux");
}
