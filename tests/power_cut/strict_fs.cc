// A file system in memory, over FUSE, that is as strict as POSIX allows: what was not synced is lost when the power goes.
//
// * Bytes of a file are durable after fsync or fdatasync of that file. Each page that was not synced survives, is lost, or is
//   torn at a sector, by chance and by itself; so does the new length.
// * A name is durable after fsync of the folder that holds it, and of nothing else. Each change of a name that was not synced
//   survives or is lost by itself. A rename is two changes, and a replaced file may come back.
//
// Build: g++ -O2 -std=c++17 strict_fs.cc $(pkg-config --cflags --libs fuse3) -lpthread -o strict_fs
// Run:   strict_fs MOUNTPOINT CONTROL_SOCKET
//
// Commands come over the control socket, one line each; the answer to each is one line, with the state at its end.
//   arm N MODE SEED   the power goes right before the Nth change from now on
//   stop N            from the Nth change on nothing works, but nothing is lost: as if the program had been killed there
//   cut MODE SEED     the power goes now, unless it is gone
//   power             the power is back
//   sync              all that there is becomes durable
//   reset             an empty disk, with power
//   state             only answers
//   quit              ends the program
// MODE says what becomes of that which was not synced: none of it survives, all, some (pages whole), torn (sectors).
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using std::string;

namespace {

constexpr size_t PAGE = 4096, SECTOR = 512;
constexpr long long CAPACITY = 1LL << 34;

struct Node;
using NodePtr = std::shared_ptr<Node>;

// A change of a folder that was not synced: the name has this node now, or is gone.
struct Change {
    string name;
    NodePtr node;
};

// A file or a folder: as programs see it, and as it is on the disk.
struct Node {
    bool is_folder = false;
    mode_t mode = 0;
    uint64_t number = 0;
    nlink_t links = 0;
    timespec modified{};

    string cached, durable;
    std::set<size_t> dirty_pages;
    bool is_length_dirty = false;

    std::map<string, NodePtr> names, durable_names;
    std::vector<Change> changes;
};

// An open file. It is of no use any more once the power was gone.
struct Handle {
    NodePtr node;
    uint64_t life;
    string path;
};

std::mutex lock;
NodePtr root;
uint64_t next_number = 1, life = 0;
bool is_dead = false;
long armed = -1;
string armed_mode, last_operation, cut_at;
unsigned long changes_done = 0, cuts = 0;
long long used = 0;
std::mt19937_64 chance_source(1);

timespec now() {
    timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

NodePtr make_node(bool is_folder, mode_t mode) {
    auto node = std::make_shared<Node>();
    node->is_folder = is_folder;
    node->mode = mode & 07777;
    node->number = next_number++;
    node->modified = now();
    return node;
}

// What is at `path`; also its last name, and the folder that holds it or would.
NodePtr find(const char *path, string *last = nullptr, NodePtr *parent = nullptr) {
    NodePtr at = root, above;
    string name;
    for (const char *rest = path; *rest;) {
        while (*rest == '/') rest++;
        const char *end = rest;
        while (*end && *end != '/') end++;
        if (end == rest) break;
        if (!at || !at->is_folder) {
            if (parent) parent->reset();
            return nullptr;
        }
        name.assign(rest, end - rest);
        above = at;
        auto found = at->names.find(name);
        at = found == at->names.end() ? nullptr : found->second;
        rest = end;
    }
    if (last) *last = name;
    if (parent) *parent = above;
    return at;
}

// ---- the power ----

bool happens(double probability) { return std::uniform_real_distribution<>(0, 1)(chance_source) < probability; }
size_t below(size_t bound) { return bound ? chance_source() % bound : 0; }

void lose_bytes(Node &file, const string &mode, double kept) {
    if (mode != "none" && (!file.dirty_pages.empty() || file.is_length_dirty)) {
        size_t before = file.durable.size(), after = file.cached.size(), size = after;
        if (mode != "all") {
            size_t choice = below(3);
            size = choice == 0 ? before : choice == 1 || after < before ? after : before + below(after - before + 1);
        }
        file.durable.resize(size, 0);
        for (size_t page : file.dirty_pages) {
            size_t from = page * PAGE, to = std::min({(page + 1) * PAGE, file.cached.size(), size});
            if (mode != "all" && !happens(kept)) continue;
            if (mode == "torn" && happens(.4)) to = std::min(to, from + SECTOR * below(PAGE / SECTOR + 1));
            if (from < to) file.durable.replace(from, to - from, file.cached, from, to - from);
        }
    }
    file.cached = file.durable;
    file.dirty_pages.clear();
    file.is_length_dirty = false;
}

void lose(const NodePtr &node, const string &mode, double kept, std::set<Node *> &seen) {
    node->links++;
    if (!seen.insert(node.get()).second) return;
    node->links = 1;
    if (!node->is_folder) {
        lose_bytes(*node, mode, kept);
        used += node->cached.size();
        return;
    }
    for (auto &change : node->changes) {
        if (mode == "none" || (mode != "all" && !happens(kept))) continue;
        if (change.node) node->durable_names[change.name] = change.node;
        else node->durable_names.erase(change.name);
    }
    node->changes.clear();
    node->names = node->durable_names;
    for (auto &entry : node->names) lose(entry.second, mode, kept, seen);
}

void cut(const string &mode) {
    is_dead = true;
    armed = -1;
    life++;
    cut_at = last_operation;
    if (mode == "stop") return;
    // Mostly any part survives; sometimes nearly all or nearly none, since that is what write-back does.
    double kept = happens(.3) ? (happens(.5) ? .9 : .1) : std::uniform_real_distribution<>(0, 1)(chance_source);
    std::set<Node *> seen;
    used = 0;
    cuts++;
    lose(root, mode, kept, seen);
}

// Called before every change: the power may go right here.
bool may_change(const char *operation, const char *path) {
    if (is_dead) return false;
    last_operation = string(operation) + " " + (path ? path : "?");
    changes_done++;
    if (armed >= 0 && armed-- == 0) {
        cut(armed_mode);
        return false;
    }
    return true;
}

void make_durable(const NodePtr &node) {
    node->durable = node->cached;
    node->dirty_pages.clear();
    node->is_length_dirty = false;
    node->durable_names = node->names;
    node->changes.clear();
    for (auto &entry : node->names) make_durable(entry.second);
}

// ---- the operations of FUSE ----

#define LOCKED                               \
    std::lock_guard<std::mutex> guard(lock); \
    if (is_dead) return -EIO
#define CHANGES(operation) \
    if (!may_change(operation, path)) return -EIO

Node *opened(fuse_file_info *info) {
    Handle *handle = info ? (Handle *)info->fh : nullptr;
    return handle && handle->life == life ? handle->node.get() : nullptr;
}

const char *name_of(const char *path, fuse_file_info *info) {
    return path ? path : info && info->fh ? ((Handle *)info->fh)->path.c_str() : "?";
}

int open_node(const NodePtr &node, const char *path, fuse_file_info *info) {
    info->fh = (uint64_t) new Handle{node, life, path};
    info->direct_io = 1;
    return 0;
}

// Gives `name` in `folder` to `node`, or to nothing.
void set_name(const NodePtr &folder, const string &name, const NodePtr &node) {
    auto before = folder->names.find(name);
    if (before != folder->names.end() && --before->second->links == 0) used -= before->second->cached.size();
    if (node) {
        folder->names[name] = node;
        node->links++;
    } else {
        folder->names.erase(name);
    }
    folder->changes.push_back({name, node});
    folder->modified = now();
}

void resize(Node &file, size_t size) {
    size_t before = file.cached.size();
    file.cached.resize(size, 0);
    file.is_length_dirty = true;
    file.modified = now();
    used += (long long)size - (long long)before;
    for (size_t page = std::min(before, size) / PAGE; page * PAGE < std::max(before, size); page++) {
        if (page * PAGE < size) file.dirty_pages.insert(page);
        else file.dirty_pages.erase(page);
    }
}

int do_getattr(const char *path, struct stat *found, fuse_file_info *info) {
    LOCKED;
    Node *node = opened(info);
    NodePtr named;
    if (!node && path) named = find(path), node = named.get();
    if (!node) return path ? -ENOENT : -EIO;
    *found = {};
    found->st_ino = node->number;
    found->st_mode = (node->is_folder ? S_IFDIR : S_IFREG) | node->mode;
    found->st_nlink = node->is_folder ? 2 : node->links;
    found->st_size = node->is_folder ? (off_t)PAGE : (off_t)node->cached.size();
    found->st_blocks = (found->st_size + 511) / 512;
    found->st_mtim = found->st_ctim = found->st_atim = node->modified;
    return 0;
}

int do_opendir(const char *path, fuse_file_info *info) {
    LOCKED;
    NodePtr node = find(path);
    if (!node) return -ENOENT;
    info->fh = (uint64_t) new Handle{node, life, path};
    return 0;
}

int do_readdir(const char *, void *buffer, fuse_fill_dir_t put, off_t, fuse_file_info *info, fuse_readdir_flags) {
    LOCKED;
    Node *node = opened(info);
    if (!node) return -EIO;
    put(buffer, ".", nullptr, 0, (fuse_fill_dir_flags)0);
    put(buffer, "..", nullptr, 0, (fuse_fill_dir_flags)0);
    for (auto &entry : node->names) put(buffer, entry.first.c_str(), nullptr, 0, (fuse_fill_dir_flags)0);
    return 0;
}

int do_release(const char *, fuse_file_info *info) {
    std::lock_guard<std::mutex> guard(lock);
    delete (Handle *)info->fh;
    info->fh = 0;
    return 0;
}

int do_mkdir(const char *path, mode_t mode) {
    LOCKED;
    string name;
    NodePtr folder;
    if (find(path, &name, &folder)) return -EEXIST;
    if (!folder) return -ENOENT;
    CHANGES("mkdir");
    set_name(folder, name, make_node(true, mode));
    return 0;
}

int do_create(const char *path, mode_t mode, fuse_file_info *info) {
    LOCKED;
    string name;
    NodePtr folder, node = find(path, &name, &folder);
    if (node) return info->flags & O_EXCL ? -EEXIST : open_node(node, path, info);
    if (!folder) return -ENOENT;
    CHANGES("create");
    node = make_node(false, mode);
    set_name(folder, name, node);
    return open_node(node, path, info);
}

int do_open(const char *path, fuse_file_info *info) {
    LOCKED;
    NodePtr node = find(path);
    if (!node) return -ENOENT;
    if (node->is_folder) return -EISDIR;
    if (info->flags & O_TRUNC) {
        CHANGES("truncate");
        resize(*node, 0);
    }
    return open_node(node, path, info);
}

int do_read(const char *, char *buffer, size_t size, off_t offset, fuse_file_info *info) {
    LOCKED;
    Node *file = opened(info);
    if (!file) return -EIO;
    if ((size_t)offset >= file->cached.size()) return 0;
    size = std::min(size, file->cached.size() - offset);
    memcpy(buffer, file->cached.data() + offset, size);
    return (int)size;
}

int do_write(const char *path, const char *bytes, size_t size, off_t offset, fuse_file_info *info) {
    LOCKED;
    Node *file = opened(info);
    if (!file) return -EIO;
    path = name_of(path, info);
    CHANGES("write");
    if (info->flags & O_APPEND) offset = file->cached.size();
    size_t end = offset + size;
    if (end > file->cached.size()) {
        if (used + (long long)(end - file->cached.size()) > CAPACITY) return -ENOSPC;
        resize(*file, end);
    }
    file->cached.replace(offset, size, bytes, size);
    file->modified = now();
    for (size_t page = offset / PAGE; page * PAGE < end; page++) file->dirty_pages.insert(page);
    return (int)size;
}

int do_truncate(const char *path, off_t size, fuse_file_info *info) {
    LOCKED;
    Node *file = opened(info);
    NodePtr named;
    if (!file && path) named = find(path), file = named.get();
    if (!file) return -ENOENT;
    path = name_of(path, info);
    CHANGES("truncate");
    resize(*file, size);
    return 0;
}

int do_unlink(const char *path) {
    LOCKED;
    string name;
    NodePtr folder, node = find(path, &name, &folder);
    if (!node) return -ENOENT;
    CHANGES("unlink");
    set_name(folder, name, nullptr);
    return 0;
}

int do_rmdir(const char *path) {
    LOCKED;
    string name;
    NodePtr folder, node = find(path, &name, &folder);
    if (!node) return -ENOENT;
    if (!node->names.empty()) return -ENOTEMPTY;
    CHANGES("rmdir");
    set_name(folder, name, nullptr);
    return 0;
}

int do_rename(const char *path, const char *target, unsigned flags) {
    LOCKED;
    string name, new_name;
    NodePtr folder, new_folder, node = find(path, &name, &folder), replaced = find(target, &new_name, &new_folder);
    if (!node || !new_folder) return -ENOENT;
    if (flags & 1 && replaced) return -EEXIST;
    if (flags & ~1u) return -EINVAL;
    CHANGES("rename");
    if (node == replaced) return 0;
    set_name(new_folder, new_name, node);
    set_name(folder, name, nullptr);
    return 0;
}

int do_link(const char *path, const char *target) {
    LOCKED;
    string name;
    NodePtr folder, node = find(path);
    if (find(target, &name, &folder)) return -EEXIST;
    if (!node || !folder) return -ENOENT;
    CHANGES("link");
    set_name(folder, name, node);
    return 0;
}

int do_fsync(const char *path, int, fuse_file_info *info) {
    LOCKED;
    Node *file = opened(info);
    if (!file) return -EIO;
    path = name_of(path, info);
    CHANGES("fsync");
    file->durable = file->cached;
    file->dirty_pages.clear();
    file->is_length_dirty = false;
    return 0;
}

int do_fsyncdir(const char *path, int, fuse_file_info *info) {
    LOCKED;
    Node *folder = opened(info);
    if (!folder) return -EIO;
    path = name_of(path, info);
    CHANGES("fsyncdir");
    folder->durable_names = folder->names;
    folder->changes.clear();
    return 0;
}

int do_statfs(const char *, struct statvfs *found) {
    std::lock_guard<std::mutex> guard(lock);
    *found = {};
    found->f_bsize = found->f_frsize = PAGE;
    found->f_blocks = CAPACITY / PAGE;
    found->f_bfree = found->f_bavail = std::max(0LL, CAPACITY - used) / PAGE;
    found->f_files = found->f_ffree = found->f_favail = 1000000;
    found->f_namemax = 255;
    return 0;
}

int do_chmod(const char *path, mode_t mode, fuse_file_info *) {
    LOCKED;
    NodePtr node = find(path);
    if (!node) return -ENOENT;
    node->mode = mode & 07777;
    return 0;
}

int do_chown(const char *, uid_t, gid_t, fuse_file_info *) { return 0; }

int do_utimens(const char *path, const timespec times[2], fuse_file_info *) {
    LOCKED;
    NodePtr node = find(path);
    if (!node) return -ENOENT;
    node->modified = times[1].tv_nsec == UTIME_NOW ? now() : times[1];
    return 0;
}

// Nothing is cached in the kernel: each call comes here.
void *do_init(fuse_conn_info *, fuse_config *config) {
    config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
    config->hard_remove = config->use_ino = config->nullpath_ok = 1;
    return nullptr;
}

// ---- the control socket ----

string obey(const char *line) {
    char verb[32] = "", mode[32] = "none";
    long count = 0;
    unsigned long seed = 1;
    std::lock_guard<std::mutex> guard(lock);
    sscanf(line, "%31s", verb);
    string command = verb;
    if (command == "arm") {
        sscanf(line, "%*s %ld %31s %lu", &count, mode, &seed);
        chance_source.seed(seed);
        armed = count;
        armed_mode = mode;
    } else if (command == "stop") {
        sscanf(line, "%*s %ld", &count);
        armed = count;
        armed_mode = "stop";
    } else if (command == "cut") {
        sscanf(line, "%*s %31s %lu", mode, &seed);
        chance_source.seed(seed);
        if (!is_dead) cut(mode);
    } else if (command == "power") {
        is_dead = false;
        armed = -1;
    } else if (command == "sync") {
        make_durable(root);
    } else if (command == "reset") {
        root = make_node(true, 0755);
        used = 0;
        life++;
        is_dead = false;
        armed = -1;
    } else if (command != "state" && command != "quit") {
        return "unknown command\n";
    }
    char answer[512];
    snprintf(answer, sizeof answer, "%s changes=%lu cuts=%lu used=%lld at=%s\n", is_dead ? "dead" : "alive", changes_done, cuts, used,
             cut_at.c_str());
    return answer;
}

void listen_to(const string &path) {
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    unlink(path.c_str());
    if (bind(listener, (sockaddr *)&address, sizeof address) || listen(listener, 4)) {
        perror(path.c_str());
        exit(1);
    }
    while (true) {
        FILE *peer = fdopen(accept(listener, nullptr, nullptr), "r+");
        char line[256];
        while (peer && fgets(line, sizeof line, peer)) {
            fputs(obey(line).c_str(), peer);
            fflush(peer);
            if (strncmp(line, "quit", 4) == 0) _exit(0);
        }
        if (peer) fclose(peer);
    }
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "strict_fs MOUNTPOINT CONTROL_SOCKET\n");
        return 2;
    }
    root = make_node(true, 0755);
    std::thread(listen_to, string(argv[2])).detach();
    static fuse_operations operations{};
    operations.init = do_init;
    operations.getattr = do_getattr;
    operations.opendir = do_opendir;
    operations.readdir = do_readdir;
    operations.releasedir = do_release;
    operations.mkdir = do_mkdir;
    operations.create = do_create;
    operations.open = do_open;
    operations.release = do_release;
    operations.read = do_read;
    operations.write = do_write;
    operations.truncate = do_truncate;
    operations.unlink = do_unlink;
    operations.rmdir = do_rmdir;
    operations.rename = do_rename;
    operations.link = do_link;
    operations.fsync = do_fsync;
    operations.fsyncdir = do_fsyncdir;
    operations.statfs = do_statfs;
    operations.chmod = do_chmod;
    operations.chown = do_chown;
    operations.utimens = do_utimens;
    const char *arguments[] = {"strict_fs", argv[1], "-f", "-o", "default_permissions"};
    return fuse_main(5, (char **)arguments, &operations, nullptr);
}
