/*
 * `sgxpy doctor`: what this machine has of what a run needs, and which device a run would take.
 * Only looks; changes nothing. Tier: hosted. CPUID leaf 12H: SDM vol. 3D, "Intel SGX Resource
 * Enumeration".
 */
#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <asm/hwcap2.h>
#include <asm/prctl.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "host/device/device.h"
#include "util/fs.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF          0
#endif

#define ELRANGE_FIRST_BYTE 65536 /* nothing is mapped below it, so the host may forbid that */
#define EPC_SECTIONS_MAX   16

/* How a finding bears on a run. */
enum bearing {
    FOR_SGX,  /* needed for the kernel device */
    FOR_SOFT, /* needed for the software device */
    HELPS,    /* speed or convenience */
};

struct finding {
    const char *name; /* also the JSON key */
    enum bearing bearing;
    bool good;
    char text[160];
};

#define FINDINGS_MAX 24
struct findings {
    struct finding items[FINDINGS_MAX];
    size_t count;
};

static void add(struct findings *f, const char *name, enum bearing bearing, bool good,
                const char *format, ...) PRINTF(5, 6);
static void add(struct findings *f, const char *name, enum bearing bearing, bool good,
                const char *format, ...)
{
    if (f->count == FINDINGS_MAX)
        return;
    struct finding *item = &f->items[f->count++];
    item->name = name;
    item->bearing = bearing;
    item->good = good;
    va_list args;
    va_start(args, format);
    vsnprintf(item->text, sizeof(item->text), format, args);
    va_end(args);
}

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

static struct leaf cpuid_leaf(uint32_t leaf, uint32_t subleaf)
{
    struct leaf l = { 0 };
    if (!__get_cpuid_count(leaf, subleaf, &l.eax, &l.ebx, &l.ecx, &l.edx))
        memset(&l, 0, sizeof(l));
    return l;
}

static void look_at_cpu(struct findings *f)
{
    char brand[49] = "";
    if (__get_cpuid_max(0x80000000, NULL) >= 0x80000004) {
        for (uint32_t i = 0; i < 3; i++) {
            struct leaf l = cpuid_leaf(0x80000002 + i, 0);
            memcpy(brand + 16 * i, &l, 16);
        }
    }
    const char *name = brand + strspn(brand, " ");
    add(f, "cpu", HELPS, true, "%s", *name ? name : "unknown");

    struct leaf seven = cpuid_leaf(7, 0);
    bool sgx = seven.ebx >> 2 & 1;
    add(f, "sgx", FOR_SGX, sgx, "%s",
        sgx ? "the CPU says it has SGX" : "not shown by the CPU (leaf 7)");

    struct leaf resources = sgx ? cpuid_leaf(0x12, 0) : (struct leaf){ 0 };
    bool sgx1 = resources.eax & 1, sgx2 = resources.eax >> 1 & 1, exinfo = resources.ebx & 1;
    if (sgx)
        add(f, "leaf_12h", FOR_SGX, sgx1 && sgx2 && exinfo,
            "SGX1 %s, SGX2 %s, EXINFO %s, largest enclave 2^%u bytes", sgx1 ? "yes" : "no",
            sgx2 ? "yes" : "no", exinfo ? "yes" : "no", resources.edx >> 8 & 0xff);
    else
        add(f, "leaf_12h", FOR_SGX, false, "empty");

    bool control = seven.ecx >> 30 & 1;
    add(f, "launch_control", FOR_SGX, control, "%s",
        control ? "flexible (the CPU starts enclaves of any signer)" : "none");

    uint64_t epc = 0;
    unsigned sections = 0;
    for (uint32_t i = 2; sgx && i < 2 + EPC_SECTIONS_MAX; i++) {
        struct leaf l = cpuid_leaf(0x12, i);
        if ((l.eax & 15) != 1)
            break;
        epc += ((uint64_t)(l.edx & 0xfffff) << 32) | (l.ecx & 0xfffff000);
        sections++;
    }
    char size[32];
    if (epc)
        add(f, "epc", FOR_SGX, true, "%s in %u section%s", cli_size(epc, size), sections,
            sections == 1 ? "" : "s");
    else
        add(f, "epc", FOR_SGX, false, "none");

    bool sha = seven.ebx >> 29 & 1;
    add(f, "sha_ni", HELPS, sha, "%s", sha ? "yes" : "no: hashing takes about six times as long");
}

static void look_at_driver(struct findings *f)
{
    static const struct {
        const char *path;
        enum bearing bearing;
        const char *what;
    } nodes[] = {
        { "/dev/sgx_enclave", FOR_SGX, "the kernel's driver" },
        { "/dev/sgx_provision", HELPS, "for attestation keys" },
        { "/dev/isgx", HELPS, "an old driver outside the kernel; not used" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
        CLEANUP(close_p) int fd = open(nodes[i].path, O_RDWR | O_CLOEXEC);
        bool absent = fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV);
        if (absent && i == ARRAY_SIZE(nodes) - 1)
            continue; /* hardly anyone has it */
        add(f, nodes[i].path, nodes[i].bearing, fd >= 0, "%s (%s)",
            fd >= 0  ? "can be opened"
            : absent ? "not there"
                     : strerror(errno),
            nodes[i].what);
    }
    void *vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
    bool entry = vdso && dlsym(vdso, "__vdso_sgx_enter_enclave");
    if (vdso)
        dlclose(vdso);
    add(f, "vdso_entry", FOR_SGX, entry, "__vdso_sgx_enter_enclave %s",
        entry ? "yes" : "not there");
}

static long read_number(const char *path)
{
    char text[32];
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read_full(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    return strtol(text, NULL, 10);
}

static void look_at_kernel(struct findings *f)
{
    struct utsname name;
    if (uname(&name) == 0)
        add(f, "kernel", HELPS, true, "%s %s", name.sysname, name.release);

    bool fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
    add(f, "fsgsbase", FOR_SOFT, fsgsbase, "%s",
        fsgsbase ? "yes" : "no: Linux 5.9 or newer is needed");

    bool dispatch = prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) == 0;
    add(f, "syscall_user_dispatch", FOR_SOFT, dispatch, "%s",
        dispatch ? "yes" : "no: Linux 5.11 or newer is needed");

    /* Switching the fault off, as it is: says only whether the CPU has it. */
    bool fault = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1) == 0;
    add(f, "cpuid_faulting", HELPS, fault, "%s",
        fault ? "yes" : "no: the program sees this CPU's own CPUID on the software device");

    long lowest = read_number("/proc/sys/vm/mmap_min_addr");
    add(f, "mmap_min_addr", FOR_SOFT, lowest >= 0 && lowest <= ELRANGE_FIRST_BYTE,
        lowest < 0 ? "unknown" : "%ld (at most %d is needed)", lowest, ELRANGE_FIRST_BYTE);

    long scope = read_number("/proc/sys/kernel/yama/ptrace_scope");
    if (scope >= 0)
        add(f, "ptrace_scope", HELPS, scope < 3, "%ld%s", scope,
            scope < 3 ? "" : ": no program can be traced on this machine");
}

static const char *device_name(enum device_kind kind)
{
    switch (kind) {
    case DEVICE_KERNEL: return "kernel";
    case DEVICE_SOFT: return "soft";
    case DEVICE_AUTO: break;
    }
    return "none";
}

static int print_json(const struct findings *f, enum device_kind kind, const char *why)
{
    json_t *root = json_object();
    for (size_t i = 0; root && i < f->count; i++)
        json_object_set_new(root, f->items[i].name,
                            json_pack("{s:b, s:s%}", "good", f->items[i].good, "text",
                                      f->items[i].text, strlen(f->items[i].text)));
    json_object_set_new(root, "device",
                        json_pack("{s:s, s:s}", "kind", device_name(kind), "why", why));
    int r = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(root);
    putchar('\n');
    return r;
}

static int doctor(const struct verb *verb, struct options *options)
{
    if (options->rest_count > 0)
        return cli_usage(verb, "'%s' is too much", options->rest[0]);

    struct findings f = { 0 };
    look_at_cpu(&f);
    look_at_driver(&f);
    look_at_kernel(&f);

    const char *why = "";
    enum device_kind kind = device_choose(DEVICE_AUTO, &why);
    bool possible = kind == DEVICE_KERNEL;
    if (kind == DEVICE_SOFT) {
        possible = true;
        for (size_t i = 0; i < f.count; i++)
            possible &= f.items[i].bearing != FOR_SOFT || f.items[i].good;
    }

    if (options->json) {
        if (print_json(&f, kind, why) < 0)
            return CLI_USAGE;
    } else {
        for (size_t i = 0; i < f.count; i++)
            printf("%-22s %-4s %s\n", f.items[i].name,
                   f.items[i].good                  ? "ok"
                   : f.items[i].bearing == FOR_SOFT ? "LACK"
                                                    : "-",
                   f.items[i].text);
        if (kind == DEVICE_KERNEL)
            printf("\na run takes the kernel's SGX device: %s\n", why);
        else if (possible)
            printf(
                "\na run takes the software SGX device (no protection against this machine): %s\n",
                why);
        else
            printf("\nno run is possible here: what says LACK is needed\n");
    }
    int r = cli_finish_output();
    return r != CLI_OK ? r : possible ? CLI_OK : CLI_START;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .arguments = "[--json]",
    .summary = "Say what this machine has, and which SGX device a run would take",
    .details =
        "Lines with LACK name what keeps the software device from working; \"-\" is what this\n"
        "machine does not have and a run does not need. Exit code 4 if no run is possible.",
    .groups = OPTIONS_JSON,
    .run = doctor,
};
