//! Start, reload, stop, upgrade, signals, logs and files of a running proxy.

mod access_log;
mod access_log_files;
mod clock_walk;
mod command_line;
mod configuration_file;
mod disk_walk;
mod generations;
mod handover;
mod hanging_disk;
mod leftover_sockets;
mod listener_demands;
mod panics;
mod program_log;
mod reload;
mod shutdown;
mod signals;
mod special_files;
mod start_alike;
pub mod start_check;
mod systemd;
mod unix_sockets;
mod upgrade_file;
mod upgrade_program;
mod upgrade_signals;
mod upgrade_stops;
mod upgrade_walk;
