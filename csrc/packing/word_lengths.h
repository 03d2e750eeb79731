// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace virnuc {

/// Tells the words of a message from the blocks of a sequence: blocks have equal lengths, but for a shorter last one.
class WordLengths {
  public:
    /// Adds a character that is not white space.
    void add(bool is_digit) {
        ++length_;
        digits_ += static_cast<std::size_t>(is_digit);
    }
    /// Ends a word, if one has begun. Numbers count as no words: they are positions in the sequence.
    void end_word() {
        if (length_ > digits_) {
            irregular_ = irregular_ || (words_ > 0 && (last_ != first_ || length_ > first_));
            if (words_++ == 0) first_ = length_;
            last_ = length_;
        }
        length_ = digits_ = 0;
    }
    /// Whether the line so far is like a message. The last word must have been ended.
    [[nodiscard]] bool like_a_message() const { return words_ >= 3 && irregular_; }

  private:
    std::size_t length_ = 0;
    std::size_t digits_ = 0;
    std::size_t words_ = 0;
    std::size_t first_ = 0;
    std::size_t last_ = 0;
    bool irregular_ = false;
};

}  // namespace virnuc
