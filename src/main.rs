//! palantir's entry: arguments → configuration → threads → exit code.

use std::process::ExitCode;

use palantir::base::log;
use palantir::base::memory::CountedAllocator;
use palantir::cli;

#[cfg(feature = "fast")]
#[global_allocator]
static ALLOCATOR: CountedAllocator<mimalloc::MiMalloc> = CountedAllocator(mimalloc::MiMalloc);
#[cfg(not(feature = "fast"))]
#[global_allocator]
static ALLOCATOR: CountedAllocator<std::alloc::System> = CountedAllocator(std::alloc::System);

fn main() -> ExitCode {
    cli::start_log();
    let (command, path) = cli::parse();
    let code = cli::carry_out(command, &path);
    log::flush();
    code
}
