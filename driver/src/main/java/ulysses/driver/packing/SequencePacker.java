package ulysses.driver.packing;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.PriorityQueue;
import java.util.TreeMap;
import java.util.stream.IntStream;

/** Decides which sequences share a row. Pure: looks at lengths only, and gives the numbers of the sequences of each row. */
final class SequencePacker {
    private SequencePacker() {}

    /**
     * Best fit, longest first: each sequence goes into the row with the least space that still holds it, of equal ones the oldest.
     * Rows come in the order of their first sequence, and sequences of a row in theirs.
     *
     * @param lengths length of each sequence, 1 to capacity
     * @param capacity tokens a row holds
     */
    static List<List<Integer>> bestFit(int[] lengths, int capacity) {
        check(lengths, capacity);
        List<List<Integer>> rows = new ArrayList<>();
        TreeMap<Integer, PriorityQueue<Integer>> rowsBySpace = new TreeMap<>();
        int[] longestFirst = IntStream.range(0, lengths.length)
                .boxed()
                .sorted(Comparator.comparingInt((Integer i) -> -lengths[i]).thenComparing(Comparator.naturalOrder()))
                .mapToInt(Integer::intValue)
                .toArray();
        for (int sequence : longestFirst) {
            Map.Entry<Integer, PriorityQueue<Integer>> fit = rowsBySpace.ceilingEntry(lengths[sequence]);
            int space = fit == null ? capacity : fit.getKey();
            int row = fit == null ? rows.size() : take(rowsBySpace, fit);
            if (row == rows.size()) {
                rows.add(new ArrayList<>());
            }
            rows.get(row).add(sequence);
            rowsBySpace
                    .computeIfAbsent(space - lengths[sequence], absent -> new PriorityQueue<>())
                    .add(row);
        }
        rows.forEach(row -> row.sort(Comparator.naturalOrder()));
        rows.sort(Comparator.comparingInt(row -> row.get(0)));
        return rows;
    }

    private static int take(
            NavigableMap<Integer, PriorityQueue<Integer>> rowsBySpace,
            Map.Entry<Integer, PriorityQueue<Integer>> entry) {
        int row = entry.getValue().remove();
        if (entry.getValue().isEmpty()) {
            rowsBySpace.remove(entry.getKey());
        }
        return row;
    }

    /**
     * LLaMA-Factory's greedy knapsack (data/processor/processor_utils.py): fills one row after the other, always with the longest
     * sequence that still fits, of equal lengths the last one. Sequences of a row come in the order they were taken.
     */
    static List<List<Integer>> knapsack(int[] lengths, int capacity) {
        check(lengths, capacity);
        NavigableMap<Integer, Deque<Integer>> sequencesByLength = new TreeMap<>();
        for (int sequence = 0; sequence < lengths.length; sequence++) {
            sequencesByLength
                    .computeIfAbsent(lengths[sequence], absent -> new ArrayDeque<>())
                    .addLast(sequence);
        }
        List<List<Integer>> rows = new ArrayList<>();
        while (!sequencesByLength.isEmpty()) {
            rows.add(fill(sequencesByLength, capacity));
        }
        return rows;
    }

    private static List<Integer> fill(NavigableMap<Integer, Deque<Integer>> sequencesByLength, int capacity) {
        List<Integer> row = new ArrayList<>();
        int space = capacity;
        while (true) {
            Map.Entry<Integer, Deque<Integer>> longest = sequencesByLength.floorEntry(space);
            if (longest == null) {
                return row;
            }
            row.add(longest.getValue().removeLast());
            space -= longest.getKey();
            if (longest.getValue().isEmpty()) {
                sequencesByLength.remove(longest.getKey());
            }
        }
    }

    private static void check(int[] lengths, int capacity) {
        for (int length : lengths) {
            if (length < 1 || length > capacity) {
                throw new IllegalArgumentException(
                        "a sequence of %d tokens for rows of %d; lengths are 1 to that".formatted(length, capacity));
            }
        }
    }
}
