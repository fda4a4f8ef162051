"""Core questions about time, order, logic, text, and what exactly is asked."""

from __future__ import annotations

from tunix_eval.data.questions.question import core

CORE_WORDS = (
    core(
        "leap-february",
        "dates",
        "medium",
        "How many days after 20 February 2024 is 5 March 2024?",
        "14",
    ),
    core(
        "hundred-days",
        "dates",
        "medium",
        "Today is a Wednesday. Which day of the week is it in 100 days?",
        "Friday",
    ),
    core(
        "night-train",
        "times",
        "medium",
        "A night train leaves at 21:48 and arrives at 06:15 the next morning, in the same time zone. How many minutes "
        "does the journey take?",
        "507",
    ),
    core(
        "birthday-year",
        "dates",
        "easy",
        "A woman was born in March 1987. In which year is her 65th birthday?",
        "2052",
    ),
    core(
        "tokyo-morning",
        "times",
        "medium",
        "When it is 12:00 in London, it is 21:00 in Tokyo. What time is it in London when it is 06:00 in Tokyo? Answer "
        "as hh:mm on the 24-hour clock.",
        "21:00",
    ),
    core(
        "third-payment",
        "dates",
        "medium",
        "A subscription is paid on the last day of every month, for the first time on 31 January 2025. How many days "
        "after the first payment is the third one?",
        "59",
    ),
    core(
        "third-friday",
        "dates",
        "medium",
        "The first day of a month is a Tuesday. On which day of that month is its third Friday? Answer with a number.",
        "18",
        "18th",
        "the 18th",
    ),
    core(
        "mother-and-son",
        "ages",
        "medium",
        "Rita was exactly 27 when her son Luis was born. How old is Luis when Rita is four times as old as he is?",
        "9",
        "9 years",
        "9 years old",
    ),
    core(
        "race-second",
        "ordering",
        "easy",
        "In a race of four, Femi finishes before Gil and after Hana, and Ivo finishes last. Who finishes second?",
        "Femi",
    ),
    core(
        "smallest-decimal",
        "ordering",
        "easy",
        "Which of these numbers is the smallest: 0.6, 0.57, 0.508, 0.61?",
        "0.508",
        ".508",
    ),
    core(
        "largest-fraction",
        "ordering",
        "medium",
        "Which of these fractions is the largest: 3/5, 5/8, 4/7, 2/3?",
        "2/3",
    ),
    core(
        "queue-length",
        "ordering",
        "medium",
        "In a queue Amir is seventh from the front and fourth from the back. How many people stand in the queue?",
        "10",
    ),
    core(
        "third-in-dictionary",
        "ordering",
        "easy",
        "Which of these words comes third in a dictionary: candle, canary, candy, canal?",
        "candle",
    ),
    core(
        "five-books",
        "ordering",
        "hard",
        "Five books stand side by side. The red one is in the middle, the blue one at the left end, the green one next "
        "to the red one on its right, and the black one is not at the right end. Which place does the black one have, "
        "counted from the left?",
        "2",
        "2nd",
        "second",
        "the second",
    ),
    core(
        "second-tallest",
        "ordering",
        "medium",
        "Bo is taller than Cy. Di is shorter than Cy. Ed is taller than Bo. Who of the four is the second tallest?",
        "Bo",
    ),
    core(
        "two-liars",
        "logic",
        "hard",
        "On an island everyone either always tells the truth or always lies. Una says: 'Vic and I are both liars.' "
        "Is Vic a liar? Answer yes or no.",
        "no",
    ),
    core(
        "match-not-cancelled",
        "logic",
        "easy",
        "Whenever it rains, the match is cancelled. Today the match was not cancelled. Did it rain today? Answer yes, "
        "no or unknown.",
        "no",
    ),
    core(
        "switch-is-up",
        "logic",
        "medium",
        "Whenever the lamp is on, its switch is up. The switch is up now. Is the lamp on? Answer yes, no or unknown.",
        "unknown",
    ),
    core(
        "locked-boxes",
        "logic",
        "medium",
        "All boxes in a cellar are locked. Some of the locked things in the cellar are red. Does it follow that a box "
        "in the cellar is red? Answer yes or no.",
        "no",
    ),
    core(
        "three-labels",
        "logic",
        "hard",
        "One of the boxes A, B and C holds a coin. The label on A says 'the coin is not in A', the label on B 'the "
        "coin is not in B', the label on C 'the coin is in B'. Exactly one label is true. Which box holds the coin?",
        "A",
        "box A",
    ),
    core(
        "band-and-choir",
        "logic",
        "medium",
        "In a class of 30 children, 18 play an instrument, 14 sing in the choir, and 5 do neither. How many do both?",
        "7",
    ),
    core(
        "socks-in-the-dark",
        "logic",
        "medium",
        "A drawer holds 10 black, 6 grey and 4 blue socks, and it is too dark to see. How many socks have to be taken "
        "out to be sure of two of one colour?",
        "4",
    ),
    core(
        "odd-product",
        "logic",
        "medium",
        "The product of four whole numbers is odd. How many of the four numbers are even?",
        "0",
        "none",
        "zero",
    ),
    core(
        "most-frequent-letter",
        "text",
        "easy",
        "Which letter occurs most often in the word 'Mediterranean'?",
        "e",
    ),
    core(
        "last-letters",
        "text",
        "easy",
        "Which word do the last letters of these words make, in this order: garlic, sofa, pearl, album?",
        "calm",
    ),
    core(
        "palindrome",
        "text",
        "easy",
        "Which of these words reads the same from right to left: motor, rotor, actor, meteor?",
        "rotor",
    ),
    core(
        "own-length",
        "text",
        "medium",
        "How many words does this question have?",
        "7",
        "seven",
    ),
    core(
        "sixth-letter",
        "text",
        "easy",
        "What is the sixth letter of the word 'pineapple'?",
        "p",
    ),
    core(
        "carpet-to-brass",
        "text",
        "medium",
        "Take away the first three letters of the word 'carpet' and put 'trum' in front of the rest. Which word is it?",
        "trumpet",
    ),
    core(
        "next-letter-code",
        "text",
        "medium",
        "In a code every letter becomes the next one of the alphabet, so that 'cat' is written 'dbu'. Which word is "
        "written 'tupof'?",
        "stone",
    ),
    core(
        "lanterns",
        "reading",
        "easy",
        "Of 31 lanterns all but 12 have gone out. How many lanterns are still burning?",
        "12",
    ),
    core(
        "pencils",
        "reading",
        "easy",
        "Emil has 5 pencils, Fay has twice as many as Emil, and Gus has 3 fewer than Fay. How many pencils does Gus "
        "have?",
        "7",
    ),
    core(
        "pages-read",
        "reading",
        "medium",
        "Kofi reads the pages 34 to 61 of a book, the first and the last of them included. How many pages does he "
        "read?",
        "28",
    ),
    core(
        "lamps-on-the-path",
        "reading",
        "medium",
        "Along one side of a straight path of 60 m there are lamps, one at each end and one every 12 m between them. "
        "How many lamps are there?",
        "6",
    ),
    core(
        "day-before",
        "reading",
        "medium",
        "The day after tomorrow is a Sunday. Which day of the week was yesterday?",
        "Thursday",
    ),
)
