/*
 * Renames, links, removals; what came and went is temporary; what was read before it was written.
 *
 * before: kept first
 * before: updated old
 * before: appended old
 * before: cut old
 * before: doomed x
 * expect: created renamed-from removed temporary
 * expect: created written tmp-name
 * expect: renamed-from tmp-name
 * expect: renamed-to final
 * after: final yes
 * after: tmp-name no
 * expect: created removed scratch
 * after: scratch no
 * expect: removed doomed
 * after: doomed no
 * expect: created hard
 * first: updated yes
 * first: appended no
 * first: cut no
 * first: kept yes
 * first: final no
 * expect: written truncated cut
 * expect: renamed-from renamed-to left
 * expect: renamed-from renamed-to right
 * expect: stat new-folder/inside
 * expect: absent old-folder/inside
 * expect: changed kept
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void make(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));
}

int main(void)
{
    struct stat st;
    close(open("kept", O_RDONLY));
    chmod("kept", 0600);
    close(open("updated", O_RDWR));
    close(open("appended", O_WRONLY | O_APPEND));
    close(open("cut", O_RDWR | O_TRUNC));
    make("temporary");
    rename("temporary", "temporary2");
    rename("temporary2", "temporary");
    unlink("temporary");
    make("tmp-name");
    rename("tmp-name", "final");
    close(open("final", O_RDONLY));
    mkdir("scratch", 0755);
    rmdir("scratch");
    unlink("doomed");
    link("final", "hard");
    make("left");
    make("right");
    int exchanged = renameat2(AT_FDCWD, "left", AT_FDCWD, "right", RENAME_EXCHANGE);
    mkdir("old-folder", 0755);
    make("old-folder/inside");
    stat("old-folder/inside", &st);
    rename("old-folder", "new-folder");
    int there = stat("new-folder/inside", &st);
    int gone = stat("old-folder/inside", &st);
    printf("%d %d %d\n", exchanged, there, gone);
    return 0;
}
