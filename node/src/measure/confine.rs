//! What a worker process may do on Linux: read what it measures and what the adapter's driver needs, and
//! nothing else. Nothing is written but shared memory, no network is reached, no program started.
//!
//! Two means, both of the kernel and both for good: Landlock (files, TCP, signals to other processes)
//! and a seccomp filter (sockets of any family but the local one, new programs, other processes' memory,
//! and what loads code into the kernel). Threads that are started afterwards inherit them; so they come
//! first, before the driver starts its own. Where the kernel lacks one, the worker says so and measures
//! all the same: the bundle's own checks and the separate process still stand.

use super::job::{Job, RecipeFiles};
use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};
use std::path::PathBuf;

/// Rights are named as this version knows them; an older kernel enforces those that it knows.
const KNOWN: ABI = ABI::V6;

/// Where programs, libraries and drivers lie, and what the kernel tells of the machine.
const SYSTEM: [&str; 18] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/opengl-driver",
    "/proc",
    "/sys",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/drirc",
    "/etc/glvnd",
    "/etc/vulkan",
    "/etc/nvidia",
    "/etc/localtime",
];

/// Variables with paths of drivers, apart from the system's.
const DRIVER_VARIABLES: [&str; 8] = [
    "LD_LIBRARY_PATH",
    "LIBGL_DRIVERS_PATH",
    "GBM_BACKENDS_PATH",
    "VK_ICD_FILENAMES",
    "VK_DRIVER_FILES",
    "VK_ADD_DRIVER_FILES",
    "VK_LAYER_PATH",
    "VK_ADD_LAYER_PATH",
];

/// Folders of `vulkan` folders that users have.
const DATA_VARIABLES: [&str; 4] =
    ["XDG_DATA_HOME", "XDG_DATA_DIRS", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"];

/// Devices: adapters, shared memory, and those that hold nothing.
const DEVICES: [&str; 12] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/shm",
    "/dev/dri",
    "/dev/kfd",
    "/dev/dxg",
    "/dev/mali0",
    "/dev/kgsl-3d0",
    "/dev/nvidia-caps",
];

/// System calls that no measurement needs, whatever their arguments.
const REFUSED: [i64; 21] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_io_uring_setup,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
];

/// Why a means could not be used.
#[derive(Debug, thiserror::Error)]
enum ConfineError {
    #[error("Landlock: {0}")]
    Files(#[from] RulesetError),
    #[error("this kernel has no Landlock")]
    NoLandlock,
    #[error("seccomp: {0}")]
    Calls(#[from] BackendError),
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::Error),
}

/// Confines this thread, and all that it starts, to what `job` needs; without one, to what the driver
/// needs. Returns why a means could not be
/// used; without any, both are in force.
pub(super) fn confine(job: Option<&Job>) -> Vec<String> {
    let done = [restrict_files(job), restrict_calls()];
    done.into_iter().filter_map(|done| Some(done.err()?.to_string())).collect()
}

fn restrict_files(job: Option<&Job>) -> Result<(), ConfineError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut readable: Vec<PathBuf> = SYSTEM.map(PathBuf::from).to_vec();
    readable.extend(driver_paths());
    readable.extend(std::env::current_exe());
    if let Some(job) = job {
        readable.push(job.pool.clone());
        readable.extend([&job.x, &job.y, &job.base].into_iter().flat_map(paths));
    }
    let mut devices: Vec<PathBuf> = DEVICES.map(PathBuf::from).to_vec();
    devices.extend(nvidia_devices());
    let device = read | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
    // Shared memory that a software adapter draws into is made of files.
    let shared = device | AccessFs::MakeReg | AccessFs::RemoveFile;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(devices, device))?;
    if let Ok(folder) = PathFd::new("/dev/shm") {
        rules = rules.add_rule(PathBeneath::new(folder, shared))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err(ConfineError::NoLandlock),
        _ => Ok(()),
    }
}

/// Files and folders of one recipe.
fn paths(files: &RecipeFiles) -> Vec<PathBuf> {
    let drafter = files.drafter.iter().map(|(folder, _)| folder);
    std::iter::once(&files.checkpoint).chain(&files.bundle).chain(drafter).cloned().collect()
}

/// Paths that the environment names for drivers.
fn driver_paths() -> Vec<PathBuf> {
    let listed = |name: &str| -> Vec<PathBuf> {
        let value = std::env::var_os(name).unwrap_or_default();
        // An empty part would stand for the current folder.
        std::env::split_paths(&value).filter(|path| path.is_absolute()).collect()
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let of_home = home.into_iter().flat_map(|home| {
        [".local/share/vulkan", ".config/vulkan", ".drirc"].map(|part| home.join(part))
    });
    let data = DATA_VARIABLES.iter().flat_map(|name| listed(name));
    let data = data.map(|folder| folder.join("vulkan"));
    DRIVER_VARIABLES.iter().flat_map(|name| listed(name)).chain(data).chain(of_home).collect()
}

/// `/dev/nvidia0` and its like, whatever their number.
fn nvidia_devices() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"nvidia"));
    named.map(|entry| entry.path()).collect()
}

fn restrict_calls() -> Result<(), ConfineError> {
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    let family = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, local)?;
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![family])?]);
    let refused = SeccompAction::Errno(libc::EACCES.unsigned_abs());
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}
