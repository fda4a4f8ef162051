"""Twenty-five questions for a quick look: 15 core, 6 of several steps, 4 of an odd form."""

from __future__ import annotations

from tunix_eval.data.questions.question import core, edge_case, trace_sensitive

SHORT_SET = (
    core(
        "cinema-rows",
        "arithmetic",
        "easy",
        "A cinema has 14 rows of 22 seats, and 37 seats are empty tonight. How many seats are taken?",
        "271",
    ),
    core(
        "pencil-boxes",
        "arithmetic",
        "medium",
        "Pencils are sold in boxes of 12. Each of 25 children is to get 3 pencils. How many boxes have to be bought?",
        "7",
    ),
    core(
        "loaf-left",
        "fractions",
        "easy",
        "A loaf weighs 900 g. A third of it is eaten in the morning and 250 g in the evening. How many grams are left?",
        "350",
    ),
    core(
        "bell-rings",
        "times",
        "medium",
        "A bell rings every 20 minutes, for the first time at 07:15. How many times has it rung by 09:00?",
        "6",
    ),
    core(
        "reduced-tent",
        "percentages",
        "easy",
        "A tent for 160 euros is reduced by 35%. How many euros does it cost then?",
        "104",
    ),
    core(
        "third-angle",
        "geometry",
        "easy",
        "Two angles of a triangle have 48 and 67 degrees. How many degrees has the third one?",
        "65",
    ),
    core(
        "ribbon-pieces",
        "units",
        "easy",
        "A ribbon of 2.1 m is cut into 6 pieces of equal length. How many centimetres long is each of them?",
        "35",
    ),
    core(
        "weekday-in-month",
        "dates",
        "medium",
        "The 3rd of a month is a Saturday. Which day of the week is the 20th of that month?",
        "Tuesday",
    ),
    core(
        "spring-days",
        "dates",
        "easy",
        "How many days do April, May and June have together?",
        "91",
    ),
    core(
        "middle-number",
        "ordering",
        "medium",
        "Sort these five numbers by size: 0.75, 2/3, 0.7, 5/8, 3/5. Which of them stands in the middle?",
        "2/3",
    ),
    core(
        "four-in-a-row",
        "ordering",
        "medium",
        "Ann, Bea, Cleo and Dora sit in a row. Ann sits to the left of Bea, Cleo to the right of Bea, and Dora between "
        "Ann and Bea. Who sits furthest to the right?",
        "Cleo",
    ),
    core(
        "turtle-and-fish",
        "logic",
        "medium",
        "No fish in a pond is older than Karl's turtle, and Karl's turtle is 12 years old. Can a fish in the pond be "
        "13 years old? Answer yes or no.",
        "no",
    ),
    core(
        "three-caps",
        "logic",
        "medium",
        "Jo, Kim and Lou wear a red, a green and a blue cap, each a different one. Jo's cap is not red, and Kim's cap "
        "is green. Which colour is Jo's cap?",
        "blue",
    ),
    core(
        "notebook-without-o",
        "text",
        "easy",
        "Write the word 'notebook' without any letter 'o'.",
        "ntebk",
    ),
    core(
        "first-letters",
        "text",
        "easy",
        "Which word do the first letters of these words make, in this order: every, aunt, reads, novels?",
        "earn",
    ),
    trace_sensitive(
        "saved-and-spent",
        "money",
        "medium",
        "Sven saves 15 euros a week for 8 weeks, spends half of his savings on a game, and then saves 20 euros a week "
        "for 3 weeks. How many euros does he have now?",
        "120",
    ),
    trace_sensitive(
        "two-reductions",
        "percentages",
        "medium",
        "A jacket for 250 euros is reduced by 20%, and a week later the new price is reduced by 25%. How many euros "
        "does it cost now?",
        "150",
    ),
    trace_sensitive(
        "lettuces-sold",
        "fractions",
        "medium",
        "A gardener plants 9 rows of 16 lettuces. Snails eat a sixth of them, and a quarter of the rest is too small "
        "to be sold. How many lettuces can be sold?",
        "90",
    ),
    trace_sensitive(
        "flight-east",
        "times",
        "hard",
        "A plane leaves at 22:40 and flies for 7 hours and 35 minutes. Where it lands, the clocks are 2 hours ahead. "
        "What time is it there when it lands? Answer as hh:mm on the 24-hour clock.",
        "08:15",
        "8:15",
    ),
    trace_sensitive(
        "printer-pauses",
        "rates",
        "hard",
        "A printer prints 24 pages a minute and pauses for 1 minute after every 100 pages. How many minutes pass from "
        "the start until page 300 is printed?",
        "14.5",
        "14 1/2",
    ),
    trace_sensitive(
        "two-kinds-of-coins",
        "money",
        "hard",
        "Zoe has 18 coins of 1 euro and of 2 euros, worth 27 euros in all. How many coins of 2 euros does she have?",
        "9",
    ),
    edge_case(
        "back-to-zero",
        "numbers",
        "easy",
        "What is 5 + (-5) + 0?",
        "0",
        "zero",
    ),
    edge_case(
        "houses-in-use",
        "irrelevant data",
        "medium",
        "A street is 4 km long and was built in 1931. It has 212 houses, the last of which is number 17b, and 53 of "
        "them are empty. How many houses are not empty?",
        "159",
    ),
    edge_case(
        "strange-marks",
        "formatting",
        "easy",
        "¿¿ 8 × 7 ?? ~~ answer with a number, please ~~",
        "56",
    ),
    edge_case(
        "count-zeros",
        "numbers",
        "medium",
        "How many times does the digit 0 occur in the number 10,020,300?",
        "5",
        "five",
    ),
)
