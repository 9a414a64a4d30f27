#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/dpkg.h"
#include "util/fs.h"

static const struct {
    const char *list, *content;
} lists[] = {
    { "libc6:amd64.list", "/.\n/lib\n/lib/x86_64-linux-gnu/libc.so.6\n/usr/share/doc/libc6\n" },
    { "python3-numpy.list", "/.\n/usr/lib/python3/dist-packages/numpy/__init__.py\n/usr/lib/last" },
    { "numpy-doc.list", "/usr/lib/python3/dist-packages/numpy/__init__.pyi\n" },
    { "python3-numpy.md5sums", "/usr/share/none\n" },
};

static const struct {
    const char *path, *want; /* NULL: nobody's */
} cases[] = {
    { "/usr/lib/python3/dist-packages/numpy/__init__.py", "python3-numpy" },
    { "/usr/lib/python3/dist-packages/numpy/__init__.pyi", "numpy-doc" },
    { "/usr/lib/python3/dist-packages/numpy/__init__.p", NULL },
    { "/python3/dist-packages/numpy/__init__.py", NULL },
    { "/usr/lib/last", "python3-numpy" },               /* without newline at the end */
    { "/usr/lib/x86_64-linux-gnu/libc.so.6", "libc6" }, /* merged /usr */
    { "/lib/x86_64-linux-gnu/libc.so.6", "libc6" },
    { "/usr/share/none", NULL },
    { "/usr/lib/last\n", NULL },
    { "relative", NULL },
    { "", NULL },
};

static void test_owner(void **state UNUSED)
{
    char info[] = "/tmp/sgxpy-dpkg-XXXXXX";
    assert_non_null(mkdtemp(info));
    CLEANUP(close_p) int fd = open(info, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        assert_int_equal(file_store(fd, lists[i].list, lists[i].content, strlen(lists[i].content),
                                    0644, 0, NULL),
                         0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char owner[64] = "";
        int r = dpkg_owner_at(info, cases[i].path, owner, sizeof(owner));
        if (cases[i].want ? r != 0 || strcmp(owner, cases[i].want) != 0 : r != -ENOENT)
            fail_msg("'%s': got %d '%s'", cases[i].path, r, owner);
    }
    char small[4];
    assert_int_equal(dpkg_owner_at(info, cases[0].path, small, sizeof(small)), 0);
    assert_string_equal(small, "pyt");
    assert_int_equal(tree_remove(AT_FDCWD, info, NULL), 0);
    assert_int_equal(dpkg_owner_at(info, cases[0].path, small, sizeof(small)), -ENOENT);
}

static void test_no_package(void **state UNUSED)
{
    char **files = NULL;
    size_t count;
    assert_int_equal(dpkg_files("no such package", &files, &count), -ENOENT);
    assert_int_equal(dpkg_files("../../../etc/passwd", &files, &count), -ENOENT);
    assert_int_equal(dpkg_files("", &files, &count), -ENOENT);
    assert_null(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_no_package),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
