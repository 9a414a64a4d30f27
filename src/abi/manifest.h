/*
 * The compiled manifest: what one process node may be and see, measured as part of its enclave. A
 * header, a table of typed sections, then the sections. Little-endian, position-independent (offsets
 * from the header), every section 8-byte aligned and in ascending order without overlap; gaps are
 * zero. A reader refuses an unknown version, an unknown section type, a repeated or missing section,
 * and any index or range that leaves its section. Types only.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define MANIFEST_MAGIC      0x31464d5950584753ull /* "SGXPYMF1" */
#define MANIFEST_VERSION    4
#define MANIFEST_CHUNK_SIZE 65536u
#define MANIFEST_HASH_SIZE  32
#define MANIFEST_SIZE_MAX   (64u << 20)
#define MANIFEST_NONE       0xffffffffu /* no index */
#define MANIFEST_PATH_MAX   4096u       /* bytes of a path, without the NUL */

enum manifest_section_type {
    MANIFEST_STRINGS = 1,   /* bytes; each string is followed by a NUL that its length leaves out */
    MANIFEST_NODE = 2,      /* one struct manifest_node */
    MANIFEST_FILES = 3,     /* struct manifest_file, sorted by path bytes (memcmp, then length) */
    MANIFEST_INDEX = 4,     /* uint32_t, a power of two >= 2 * files: open addressing, see below */
    MANIFEST_LEAVES = 5,    /* 32-byte chunk hashes */
    MANIFEST_DIRENTS = 6,   /* struct manifest_dirent; one directory's run is sorted by name */
    MANIFEST_ARGS = 7,      /* struct manifest_str: the pinned arguments, argv[0] first */
    MANIFEST_ENV = 8,       /* struct manifest_env, sorted by name */
    MANIFEST_ENTRIES = 9,   /* struct manifest_entry: entry points, the first the root's */
    MANIFEST_CHILDREN = 10, /* struct manifest_child */
    MANIFEST_GRANTS = 11,   /* struct manifest_grant */
    MANIFEST_NET = 12,      /* struct manifest_net */
    MANIFEST_GIVEN = 13,    /* struct manifest_given */
    MANIFEST_SECTION_TYPES = 13,
};

struct manifest_section {
    uint32_t type;       /* 0x00 */
    uint32_t entry_size; /* 0x04: bytes of one entry; 1 for strings */
    uint64_t offset;     /* 0x08: from the header, 8-byte aligned */
    uint64_t count;      /* 0x10: entries; size = entry_size * count */
};

struct manifest_header {
    uint64_t magic;         /* 0x00 */
    uint32_t version;       /* 0x08 */
    uint32_t section_count; /* 0x0c: MANIFEST_SECTION_TYPES: every type once, ascending */
    uint64_t size;          /* 0x10: bytes of all, header included */
    struct manifest_section sections[MANIFEST_SECTION_TYPES]; /* 0x18 */
};

/* A range of MANIFEST_STRINGS. */
struct manifest_str {
    uint32_t offset;
    uint32_t length; /* without the NUL */
};

enum manifest_class {
    MANIFEST_TRUSTED = 1, /* regular: verified by chunk. Directory, symlink: the record is all */
    MANIFEST_ALLOWED = 2, /* plain host file or folder, unprotected */
    MANIFEST_SCRATCH = 3, /* private to the run: in-enclave tmpfs; a directory, usually "/tmp" */
    MANIFEST_NAMED = 4,   /* metadata only: stat works, open is EACCES */
    MANIFEST_ABSENT = 5,  /* expected to be absent: ENOENT without an audit line, also below an
                             allowed directory */
};

enum manifest_file_flags {
    /* clang-format off */
    MANIFEST_DENY = 1u << 0,    /* a mismatch is EIO to the program instead of an abort */
    MANIFEST_SUBTREE = 1u << 1, /* allowed, scratch: everything below too, unless a record names it */
    MANIFEST_OUTPUT = 1u << 2,  /* allowed: absent until the program creates it, whatever the host
                                   holds; its parent directory admits the name */
    MANIFEST_EXEC = 1u << 3,    /* trusted: may be mapped executable or started */
    MANIFEST_LISTED = 1u << 4,  /* directory: dirents are the whole listing; without it, listing the
                                   directory is EACCES with an audit line */
    /* clang-format on */
};

struct manifest_file {
    struct manifest_str path;   /* 0x00: absolute, canonical: no symlink, no ".", "..", "//" */
    struct manifest_str target; /* 0x08: symlink text; else empty */
    uint32_t class;             /* 0x10: enum manifest_class */
    uint32_t flags;             /* 0x14: enum manifest_file_flags */
    uint32_t mode;              /* 0x18: st_mode, type and permissions */
    uint32_t nlink;             /* 0x1c */
    uint64_t size;              /* 0x20: st_size; directories 4096 */
    int64_t mtime_sec;          /* 0x28: directories: 0 */
    uint32_t mtime_nsec;        /* 0x30 */
    uint32_t uid;               /* 0x34 */
    uint32_t gid;               /* 0x38 */
    uint32_t dev;               /* 0x3c: small number per file system, from 1 */
    uint64_t ino;               /* 0x40: derived, from 1; equal exactly for hard links */
    uint32_t first_leaf;        /* 0x48: trusted regular: ceil(size / MANIFEST_CHUNK_SIZE) leaves */
    uint32_t leaf_count;        /* 0x4c */
    uint32_t first_dirent;      /* 0x50: directory with MANIFEST_LISTED */
    uint32_t dirent_count;      /* 0x54 */
    uint32_t parent;            /* 0x58: index of the parent directory's record; "/" : itself.
                                   Every record's parents are records (directories) too */
    uint32_t rdev;              /* 0x5c: 0 */
    uint8_t sha256[MANIFEST_HASH_SIZE]; /* 0x60: of the whole content, for people */
};

/* Without "." and "..". file names a record whose path is directory + "/" + name. */
struct manifest_dirent {
    struct manifest_str name; /* 0x00 */
    uint32_t file;            /* 0x08 */
    uint32_t reserved;        /* 0x0c: 0 */
};

enum manifest_env_policy {
    MANIFEST_ENV_PINNED = 1, /* value is measured */
    MANIFEST_ENV_HOST = 2,   /* the host's value at run time, if it has one */
};

struct manifest_env {
    struct manifest_str name;  /* 0x00 */
    struct manifest_str value; /* 0x08: empty for MANIFEST_ENV_HOST */
    uint32_t policy;           /* 0x10 */
    uint32_t reserved;         /* 0x14: 0 */
};

/* An entry point: which start of a program this node is (core/program_key.h). A node has one, or several
 * where nodes were merged; the root starts at entries[0]. */
struct manifest_entry {
    uint32_t executable;        /* 0x00: file index of the ELF program that starts */
    uint32_t interpreter;       /* 0x04: file index of its PT_INTERP, MANIFEST_NONE if static */
    struct manifest_str execfn; /* 0x08: what AT_EXECFN says if it starts as root */
    uint32_t kind;              /* 0x10: enum program_kind */
    uint32_t reserved;          /* 0x14: 0 */
    uint8_t key[MANIFEST_HASH_SIZE]; /* 0x18: struct program_key.hash; zero for PROGRAM_ANY */
};

enum manifest_child_flags {
    MANIFEST_CHILD_SELF = 1u << 0, /* this very node: mrenclave is zero, the own one is meant */
};

/* A program that this node may start. Sorted by (executable path bytes, kind, key). */
struct manifest_child {
    struct manifest_str executable;        /* 0x00: canonical path of the ELF file */
    uint32_t kind;                         /* 0x08: enum program_kind */
    uint32_t flags;                        /* 0x0c: enum manifest_child_flags */
    uint8_t key[MANIFEST_HASH_SIZE];       /* 0x10 */
    uint8_t mrenclave[MANIFEST_HASH_SIZE]; /* 0x30 */
    struct manifest_str label;             /* 0x50: for messages */
};

/* Root nodes only: what another node of the tree may do with the tree's scratch files. Sorted. */
struct manifest_grant {
    uint8_t mrenclave[MANIFEST_HASH_SIZE]; /* 0x00 */
    struct manifest_str path;              /* 0x20: scratch directory: it and all below */
};

/*
 * What the node may do with sockets of IPv4 and IPv6; what no rule covers is EACCES. core/net_rule.h has the
 * meaning. Sorted by net_rule_compare, none twice.
 */
enum manifest_net_action {
    MANIFEST_NET_LISTEN = 1,  /* bind; listen without it */
    MANIFEST_NET_CONNECT = 2, /* connect; sendto, sendmsg with an address */
};

enum manifest_net_type {
    MANIFEST_NET_ANY = 0,
    MANIFEST_NET_TCP = 1, /* SOCK_STREAM */
    MANIFEST_NET_UDP = 2, /* SOCK_DGRAM */
};

enum manifest_net_flags {
    /* Whatever port the kernel chooses; port_low and port_high are 0. */
    MANIFEST_NET_EPHEMERAL = 1u << 0,
};

struct manifest_net {
    /* 0x00: IPv6, network order; IPv4 as ::ffff:a.b.c.d; bits behind prefix are 0 */
    uint8_t address[16];
    uint32_t action; /* 0x10: enum manifest_net_action */
    uint32_t type;   /* 0x14: enum manifest_net_type */
    /* 0x18: bits of address that count, 0 to 128; IPv4 has 96 more than people write */
    uint32_t prefix;
    uint16_t port_low;  /* 0x1c: host order, inclusive */
    uint16_t port_high; /* 0x1e */
    uint32_t flags;     /* 0x20: enum manifest_net_flags */
    uint32_t reserved;  /* 0x24: 0 */
};

/*
 * What decides which code runs and a node takes from a parent that is another node, as its traces had it
 * (core/given.h). Sorted by (what, name bytes, value bytes), none twice. Roots have none: theirs is pinned. A node
 * that may be started in any way by an interpreter (PROGRAM_ANY) takes all, and has none either.
 */
enum manifest_given_what {
    /* clang-format off */
    MANIFEST_GIVEN_VARIABLE = 1, /* this variable with this value */
    MANIFEST_GIVEN_UNSET = 2,    /* this variable may be missing. Without it, one that has a value here is put in */
    MANIFEST_GIVEN_HOST = 3,     /* with any value: it is the host's by --env */
    MANIFEST_GIVEN_INSECURE = 4, /* with any value: --insecure_given */
    MANIFEST_GIVEN_FOLDER = 5,   /* value: may start in this folder and all below that is scratch, allowed or built in.
                                    Trusted folders need none */
    MANIFEST_GIVEN_OPTIONS = 6,  /* value: an interpreter's options (given_options) */
    MANIFEST_GIVEN_NAME = 7,     /* value: argv[0] or the name given to exec. One that leads only through what is
                                    measured, or is no path, needs none, unless it begins with "-" (a login shell) */
    /* clang-format on */
};

struct manifest_given {
    struct manifest_str name;  /* 0x00: variables; else empty */
    struct manifest_str value; /* 0x08: empty where there is none */
    uint32_t what;             /* 0x10: enum manifest_given_what */
    uint32_t reserved;         /* 0x14: 0 */
};

enum manifest_node_flags {
    /* clang-format off */
    MANIFEST_ROOT = 1u << 0,
    MANIFEST_EXEC_DENY = 1u << 1,     /* exec is EACCES, fork ENOSYS, each with an audit line */
    MANIFEST_ARGS_HOST = 1u << 2,     /* arguments after the pinned ones come from the host */
    MANIFEST_INSECURE_DEBUG = 1u << 3, /* signed with DEBUG: --strace may show buffers */
    MANIFEST_FORKS = 1u << 4,          /* the trace saw it fork without exec */
    MANIFEST_INSECURE_GIVEN = 1u << 5, /* takes variables, folder, options from its parent as they come */
    /* clang-format on */
};

struct manifest_node {
    uint8_t mrsigner[MANIFEST_HASH_SIZE];   /* 0x00 */
    uint8_t cascade_id[MANIFEST_HASH_SIZE]; /* 0x20: hash of the cascade without measurements */
    struct manifest_str label;              /* 0x40: what people call this node */
    struct manifest_str cwd;                /* 0x48 */
    struct manifest_str hostname;           /* 0x50 */
    uint32_t flags;                         /* 0x58: enum manifest_node_flags */
    uint32_t uid;                           /* 0x5c */
    uint32_t gid;                           /* 0x60 */
    uint32_t umask;                         /* 0x64 */
    uint32_t thread_count;                  /* 0x68: TCS pages, also in the params page */
    uint32_t cpu_count;                     /* 0x6c: what the program is told */
    uint64_t heap_size;                     /* 0x70: bytes, page-aligned */
    uint64_t stack_size;                    /* 0x78: main thread's stack, bytes */
    uint32_t fd_limit;                      /* 0x80: RLIMIT_NOFILE */
    uint32_t async_signals; /* 0x84: bit (n - 1): host event n may reach the program */
    uint32_t process_limit; /* 0x88: root: processes alive at once in the tree */
    uint32_t reserved;      /* 0x8c: 0 */
};

static_assert(sizeof(struct manifest_section) == 0x18, "section");
static_assert(sizeof(struct manifest_header) == 0x18 + 13 * 0x18, "header");
static_assert(sizeof(struct manifest_file) == 0x80, "file");
static_assert(sizeof(struct manifest_dirent) == 0x10, "dirent");
static_assert(sizeof(struct manifest_env) == 0x18, "env");
static_assert(sizeof(struct manifest_entry) == 0x38, "entry");
static_assert(sizeof(struct manifest_child) == 0x58, "child");
static_assert(sizeof(struct manifest_grant) == 0x28, "grant");
static_assert(sizeof(struct manifest_net) == 0x28, "net");
static_assert(sizeof(struct manifest_given) == 0x18, "given");
static_assert(sizeof(struct manifest_node) == 0x90, "node");

/*
 * MANIFEST_INDEX: slot = manifest_path_hash(path, length) & (count - 1), probing upwards with wrap;
 * a slot holds a file index or MANIFEST_NONE (end of the probe). core/path_hash.h has the hash.
 */
