// Descriptors that the loop watches for one JavaScript environment, by the numbers that JavaScript has given them: what sockets (socket.h) and channels to
// FUSE (fuse.h) have in common. Each number has a row of 8 doubles that JavaScript shares.
//
//   attach -> watched, under its number -> release: the number is free at once, the memory when the loop has let go of it
//
// JavaScript thread only.
#pragma once

#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace diskwright {

/** What each of them has. `poll.data` is the item. */
struct Descriptor {
  uv_poll_t poll{};
  uint32_t id = 0;
  int fd = -1;
  bool open = true;
};

/** `Item` derives from `Descriptor`. */
template <typename Item>
class Descriptors {
 public:
  /** `rows`: `count` rows that JavaScript keeps alive. */
  Descriptors(uv_loop_t* loop, double* rows, uint32_t count) : loop_(loop), rows_(rows), count_(count) {}

  Item* find(uint32_t id) { return id < items_.size() ? items_[id] : nullptr; }

  double* row(const Item& item) { return rows_ + size_t{item.id} * kRowDoubles; }

  /** Takes `fd` over under a number that is free: 0, and the item is there, not watched yet. Or -errno; `fd` is closed then. */
  int attach(uint32_t id, int fd) {
    int failed = closing_ ? -ECANCELED : id >= count_ || find(id) != nullptr ? -EINVAL : 0;
    if (failed == 0) {
      auto* made = new Entry;
      failed = uv_poll_init(loop_, &made->poll, fd);
      if (failed == 0) {
        made->poll.data = static_cast<Item*>(made);
        made->all = this;
        made->id = id;
        made->fd = fd;
        if (id >= items_.size()) items_.resize(id + 1, nullptr);
        items_[id] = made;
        handles_++;
        std::fill_n(row(*made), kRowDoubles, 0.0);
        return 0;
      }
      delete made;
    }
    ::close(fd);
    return failed;
  }

  /** Stops watching, and frees the number; the descriptor is closed. The item is there until the loop has let go of it. */
  void release(Item& item) {
    item.open = false;
    items_[item.id] = nullptr;
    uv_poll_stop(&item.poll);
    ::close(item.fd);
    uv_close(reinterpret_cast<uv_handle_t*>(&item.poll), onGone);
  }

  /** Has `release` called for each, which must lead to `release` here, and calls `closed` when the loop has let go of all. */
  void closeAll(const std::function<void(Item&)>& release, std::function<void()> closed) {
    closing_ = true;
    closed_ = std::move(closed);
    if (handles_ == 0) {
      closed_();
      return;
    }
    for (Item* item : items_) {
      if (item != nullptr) release(*item);
    }
  }

 private:
  static constexpr size_t kRowDoubles = 8;

  struct Entry : Item {
    Descriptors* all = nullptr;
  };

  static void onGone(uv_handle_t* handle) {
    auto* entry = static_cast<Entry*>(static_cast<Item*>(handle->data));
    Descriptors* all = entry->all;
    delete entry;
    if (--all->handles_ == 0 && all->closing_) all->closed_();
  }

  uv_loop_t* const loop_;
  double* const rows_;
  const uint32_t count_;
  std::vector<Item*> items_;
  unsigned handles_ = 0;  // that the loop has not let go of yet
  bool closing_ = false;
  std::function<void()> closed_;
};

}  // namespace diskwright
